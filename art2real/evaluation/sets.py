"""The sets of images that a command compares, as the user names them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from art2real.errors import UsageError


@dataclass(frozen=True)
class ImageSet:
    """A folder of images under a name; where several artists are compared, of one of them."""

    name: str
    folder: Path
    artist: str = ""

    @property
    def label(self) -> str:
        return f"{self.artist}/{self.name}" if self.artist else self.name


def parse_set(text: str, option: str = "--set") -> ImageSet:
    """`NAME=DIR` or `ARTIST/NAME=DIR`.

    Raises:
        UsageError: it is neither.
    """
    label, equals, folder = text.partition("=")
    artist, slash, name = label.partition("/")
    if not slash:
        artist, name = "", label
    if not equals or not folder or not name.strip() or (slash and not artist.strip()):
        raise UsageError(f'{option} {text}: write NAME=DIR or ARTIST/NAME=DIR, for example "Ours=translated"')
    return ImageSet(name.strip(), Path(folder), artist.strip())


def parse_artist(text: str, option: str) -> tuple[str, Path]:
    """`DIR`, for all artists (named by the empty word), or `ARTIST=DIR`.

    Raises:
        UsageError: the artist or the folder is missing.
    """
    artist, equals, folder = text.partition("=")
    if not equals or Path(text).is_dir():
        return "", Path(text)
    if not artist.strip() or not folder:
        raise UsageError(f"{option} {text}: write DIR, or ARTIST=DIR where there are several artists")
    return artist.strip(), Path(folder)


def check_apart(real: Iterable[tuple[str, Path]], sets: Sequence[ImageSet]) -> None:
    """Refuses sets that would be one row twice.

    Args:
        real: artist and folder of each set of photos.
        sets: what is compared with them.

    Raises:
        UsageError: two sets of one name, or one folder under two names.
    """
    names: set[str] = set()
    folders = {folder.resolve(): "--real" for _, folder in real}
    for each in sets:
        if each.label in names:
            raise UsageError(f"two sets are called {each.label}; give each a name of its own")
        names.add(each.label)
        other = folders.setdefault(each.folder.resolve(), each.label)
        if other != each.label:
            raise UsageError(f"{each.folder} is given twice, as {other} and as {each.label}")
