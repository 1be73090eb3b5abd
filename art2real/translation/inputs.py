"""The images that a user names: files, folders, patterns, lists, tables and .tar shards, here or afar."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from art2real.data.corpus import printable
from art2real.data.sources import Entry, Source, open_source
from art2real.data.sources.lists import LIST_SUFFIXES
from art2real.data.sources.names import named_like_image, suffix
from art2real.data.sources.patterns import has_magic
from art2real.data.sources.places import is_local, local_bytes, local_path, parse_address, split_uri
from art2real.data.sources.tables import TABLE_SUFFIXES
from art2real.data.sources.tars import SHARD_SUFFIX
from art2real.errors import UserError

_OPENED = (*LIST_SUFFIXES, *TABLE_SUFFIXES, SHARD_SUFFIX)


@dataclass(frozen=True)
class Found:
    """An image."""

    entry: Entry
    place: PurePosixPath
    """Where its results belong: its path below the folder that was named, else its own name."""
    folder: str
    """The name of the folder that it was found in, which tells images of one name apart."""

    @property
    def shown(self) -> str:
        """What messages call it."""
        return shown(self.entry)


def find_images(
    inputs: Sequence[str], out: Path, *, anonymous: bool = False
) -> tuple[list[Found], list[tuple[str, str]]]:
    """Each image that the inputs name, once; and what could not be read (folders, rows of lists), and why.

    Args:
        inputs: paths and URIs of images, and what `art2real.data.sources.open_source` takes.
        out: folder of the results; where it lies inside of an input, it is passed over.
        anonymous: whether object stores are asked without credentials.

    Raises:
        UserError: an input that does not exist, cannot be read, or has no image.
        UsageError: an input that is no place of images.
    """
    found: dict[tuple[str, int | None], Found] = {}
    unreadable: list[tuple[str, str]] = []
    for text in inputs:
        for each in _expand(text, out, anonymous, unreadable):
            found.setdefault(_identity(each.entry), each)
    return list(found.values()), unreadable


def shown(entry: Entry) -> str:
    """What messages call an image."""
    if entry.offset is None:
        return printable(entry.file)
    return printable(posixpath.join(entry.file, entry.source.rpartition(f"{SHARD_SUFFIX}/")[2]))


def _expand(text: str, out: Path, anonymous: bool, unreadable: list[tuple[str, str]]) -> Iterator[Found]:
    image = _single(text)
    if image is not None:
        yield Found(image, PurePosixPath(posixpath.basename(image.source)), _folder_of(image))
        return
    source = open_source(text, leave_out=out, anonymous=anonymous)
    whole = _is_folder(text)
    nothing = True
    for entry in source.entries():
        nothing = False
        root = posixpath.basename(source.origin.rstrip("/")) if whole else _folder_of(entry)
        yield Found(entry, _place(entry.source), root)
    if nothing:
        raise _without_images(text, source)
    unreadable += [(printable(posixpath.join(text, path)), why) for path, why in source.unreadable]


def _single(text: str) -> Entry | None:
    """The entry of a text that names one image."""
    if is_local(text):
        path = Path(local_path(text))
        if path.is_file() and suffix(path.name) not in _OPENED:
            return Entry(path.name, str(path.absolute()), local_bytes(str(path)))
        if not path.exists() and not has_magic(str(path)):
            raise UserError(f"{text}: there is no such image, folder or pattern with a match")
        return None
    written = split_uri(text)[1]
    if has_magic(written, "*[") or written.endswith("/") or not named_like_image(unquote(written)):
        return None
    address = parse_address(text)
    return Entry(posixpath.basename(address.path), address.uri, -1)


def _is_folder(text: str) -> bool:
    if is_local(text):
        return Path(local_path(text)).is_dir()
    written = split_uri(text)[1]
    return not has_magic(written, "*[") and suffix(written) not in _OPENED


def _folder_of(entry: Entry) -> str:
    """The name of the folder, or of the shard, that an image lies in."""
    path = PurePosixPath(local_path(entry.file) if is_local(entry.file) else parse_address(entry.file).path)
    name = path.stem if entry.offset is not None else path.parent.name
    return "" if name == ".." else name.replace("\0", "-")


def _place(source: str) -> PurePosixPath:
    """A path that stays below its folder, whatever a list or a shard says."""
    path = PurePosixPath(source if is_local(source) else parse_address(source).path)
    if not is_local(source) or path.is_absolute() or ".." in path.parts:
        path = PurePosixPath(path.name)
    # A zero byte is in no name, but may be in a line of a list.
    return (
        PurePosixPath(str(path).replace("\0", "-")) if path.name not in ("", "..") else PurePosixPath("image")
    )


def _identity(entry: Entry) -> tuple[str, int | None]:
    """What is equal for two ways to the same image."""
    if not is_local(entry.file) or "\0" in entry.file:
        return entry.file, entry.offset
    return str(Path(local_path(entry.file)).resolve()), entry.offset


def _without_images(text: str, source: Source) -> UserError:
    others = source.not_images
    what = f"none of its {others} files looks like an image" if others else "it is empty"
    if source.unreadable:
        what += f", and {len(source.unreadable)} cannot be read ({': '.join(source.unreadable[0])})"
    return UserError(f"{printable(text)}: {what}; give images, or a folder with some")
