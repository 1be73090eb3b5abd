"""Unpacking an archive from a stranger into one folder, and nowhere else."""

from __future__ import annotations

import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 2**20
_ENCRYPTED = 0x1
_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    ValueError,
)
"""What `zipfile` raises at an archive that is damaged or not understood."""


class ArchiveError(Exception):
    """The archive is damaged, or nothing that one may unpack; says why."""


@dataclass(frozen=True)
class Limits:
    """Most that is unpacked."""

    members: int = 1_000_000
    bytes: int = 64 * 2**30
    ratio: int = 200
    """Bytes unpacked for each byte of the archive."""


@dataclass(frozen=True)
class Member:
    """What the archive says of a file in it: its size in bytes and the CRC-32 of its content."""

    bytes: int
    crc32: int


def unpack(
    archive: Path,
    name: str,
    target: Path,
    on_files: Callable[[int, int], None],
    limits: Limits | None = None,
) -> dict[str, Member]:
    """Unpacks the content of the folder `name` of a zip archive into the new folder `target`.

    Returns the files by their path in `target`. `on_files` is called with the files done and all files.

    Raises:
        ArchiveError: a member is damaged, lies outside the folder, is no plain file, or the archive unpacks
            to more than the limits; what was unpacked by then is left in `target`.
        OSError: the disk refuses.
    """
    limits = Limits() if limits is None else limits
    try:
        with zipfile.ZipFile(archive) as opened:
            return _unpack(opened, archive.stat().st_size, name, target, on_files, limits)
    except _FAULTS as error:
        raise ArchiveError(" ".join(str(error).split()) or "it is damaged") from None


def _unpack(
    archive: zipfile.ZipFile,
    size: int,
    name: str,
    target: Path,
    on_files: Callable[[int, int], None],
    limits: Limits,
) -> dict[str, Member]:
    files = _check(archive.infolist(), name, size, limits)
    target.mkdir()
    for number, (path, member) in enumerate(files.items()):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        _copy(archive, member, target / path)
        on_files(number + 1, len(files))
    return {path: Member(member.file_size, member.CRC) for path, member in files.items()}


def _check(
    members: list[zipfile.ZipInfo], name: str, size: int, limits: Limits
) -> dict[str, zipfile.ZipInfo]:
    """The files of the archive by their path in the folder, once nothing in it is amiss."""
    if len(members) > limits.members:
        raise ArchiveError(f"it has {len(members):,} members, more than {limits.members:,}")
    # No member gives more bytes than it declares (see `_copy`), so this bounds what is written.
    total = sum(member.file_size for member in members)
    if total > min(limits.bytes, limits.ratio * size):
        raise ArchiveError(f"its {size:,} bytes unpack to {total:,}, which no set of images does")
    files = {}
    seen = set()
    for member in members:
        path = _checked_path(member, name)
        # Equal on a file system that ignores case or composes accents: one would overwrite the other.
        key = unicodedata.normalize("NFC", path).casefold()
        if key in seen:
            raise ArchiveError(f"it has two members of the name {path!r}")
        seen.add(key)
        if not member.orig_filename.endswith("/"):
            files[path] = member
    for path in files:
        for parent in Path(path).parents:
            if parent.as_posix() in files:
                raise ArchiveError(f"{parent.as_posix()!r} is a file and also a folder")
    if not files:
        raise ArchiveError("it has no files")
    return files


def _checked_path(member: zipfile.ZipInfo, name: str) -> str:
    """A member's path below the folder `name`; the empty string for the folder itself."""
    full = member.orig_filename  # `filename` was mended by zipfile, which hides what is wrong with it
    folder = full.endswith("/")
    first, *parts = full.removesuffix("/").split("/")
    inside = first == name and (parts or folder) and not {"", ".", ".."} & set(parts)
    if not inside or "\\" in full or "\0" in full:
        raise ArchiveError(f"{full!r} is not the name of a file in {name}/")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if folder else stat.S_IFREG):
        raise ArchiveError(f"{full!r} is a link or a special file")
    if member.flag_bits & _ENCRYPTED:
        raise ArchiveError(f"{full!r} is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # The other methods' decoders take no limit, so a few bytes could fill the memory.
        raise ArchiveError(
            f"{full!r} is compressed in a way that is not accepted (number {member.compress_type})"
        )
    if member.header_offset < 0:
        raise ArchiveError(f"the beginning of the archive, with {full!r}, is missing")
    return "/".join(parts)


def _copy(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Writes a member's file; zipfile compares the CRC-32 and stops at the declared size."""
    written = 0
    with archive.open(member) as source, path.open("xb") as file:
        while block := source.read(_BLOCK):
            written += len(block)
            file.write(block)
    if written != member.file_size:
        raise ArchiveError(f"{member.orig_filename!r} ends after {written:,} of {member.file_size:,} bytes")
