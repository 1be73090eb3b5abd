"""Which files of a folder are images."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from art2real.errors import UserError

# fmt: off
EXTENSIONS = frozenset((
    ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg",
    ".jxl", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
))
# fmt: on
"""Names that promise an image. Some cannot be decoded: those are then named as skipped, not passed over."""

_BEGINNINGS = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\x00",  # TIFF
    b"MM\x00*",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n",  # JPEG 2000
)


@dataclass(frozen=True)
class Corpus:
    """The files of a folder."""

    root: Path
    files: tuple[tuple[str, int], ...]
    """Relative POSIX path and size in bytes of every file that looks like an image, sorted by path."""
    not_images: int
    """Other files."""
    unreadable: tuple[str, ...] = ()
    """Relative paths of folders that could not be listed."""

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.files]


def list_images(folder: Path) -> list[str]:
    """Relative POSIX paths, sorted, of all files below `folder` that look like images.

    Raises:
        UserError: the folder is missing, is no folder, is empty or has no image.
    """
    return list_corpus(folder).paths


def list_corpus(folder: Path, leave_out: Path | None = None) -> Corpus:
    """Lists a folder tree; links to folders are followed, each folder once.

    A file looks like an image if it has the name of one or, whatever its name, begins like one.

    Args:
        folder: the root of the tree.
        leave_out: a folder inside of it that is not part of the corpus (the bank that is being built).

    Raises:
        UserError: the folder is missing, is no folder, is empty or has no image.
    """
    if not folder.exists():
        raise UserError(f"{folder}: there is no such folder; give the folder that holds the images")
    if not folder.is_dir():
        raise UserError(f"{folder}: not a folder; give the folder that holds the images")
    files: list[tuple[str, int]] = []
    unreadable: list[str] = []
    others = 0
    seen = {_key(leave_out)} if leave_out is not None and leave_out.is_dir() else set()

    def note(error: OSError) -> None:
        unreadable.append(_relative(Path(error.filename), folder))

    for place, folders, names in os.walk(folder, onerror=note, followlinks=True):
        here = Path(place)
        if _key(here) in seen:
            folders.clear()
            continue
        seen.add(_key(here))
        folders.sort()
        for name in names:
            path = here / name
            try:
                status = path.stat()
            except OSError:  # a dangling link, or gone since the folder was listed
                continue
            if stat.S_ISREG(status.st_mode) and looks_like_image(path):
                files.append((_relative(path, folder), status.st_size))
            else:
                others += 1
    if not files:
        what = f"none of its {others} files looks like an image" if others else "the folder is empty"
        if unreadable:
            what += f", and {len(unreadable)} folders cannot be read"
        raise UserError(f"{folder}: {what}; give a folder with images")
    return Corpus(folder, tuple(sorted(files)), others, tuple(sorted(unreadable)))


def looks_like_image(path: Path) -> bool:
    """Whether a file has the name of an image or begins like one."""
    if path.suffix.lower() in EXTENSIONS:
        return True
    try:
        with path.open("rb") as file:
            head = file.read(32)
    except OSError:
        return False
    return (
        head.startswith(_BEGINNINGS)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", b"heic", b"heix", b"mif1"))
        # Two letters are too little for BMP: the size of its second header must fit as well.
        or (head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in (12, 40, 52, 56, 64, 108, 124))
    )


def printable(path: str) -> str:
    """A path for tables and messages: bytes in a file's name that are not UTF-8 appear as `\\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _key(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
