"""The members of a .tar archive, found by their headers alone: no data is read, nothing is written."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_BLOCK = 512
_MOST_EXTENDED = 2**20  # bytes of an extended header: names are far shorter, and it is held in memory
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)


class DamagedTar(Exception):  # noqa: N818 - reads as what it is
    """The archive cannot be read further; the message says why."""


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in an archive."""

    name: str
    offset: int
    """Where its data starts in the archive, bytes."""
    bytes: int


def members(file: BinaryIO, size: int) -> Iterator[Member]:
    """The regular files of a ustar, GNU or pax archive that are complete; sparse files are left out.

    Args:
        file: the archive, seekable.
        size: its size in bytes.

    Raises:
        DamagedTar: after all members before the damage.
    """
    at = 0
    shared: dict[str, str] = {}
    own: dict[str, str] = {}
    while True:
        header = _read(file, at, _BLOCK)
        if header == bytes(_BLOCK):
            return
        info = _parsed(header, at, size)
        if info.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE, *_PAX):
            if info.size > _MOST_EXTENDED:
                raise DamagedTar(f"is damaged at byte {at}")
            content = _read(file, at + _BLOCK, info.size)
            if len(content) < info.size:
                raise DamagedTar("ends in the middle of a header")
            if info.type == tarfile.GNUTYPE_LONGNAME:
                own["path"] = _text(content.partition(b"\0")[0])
            elif info.type == tarfile.XGLTYPE:
                shared.update(_records(content, at))
            elif info.type in _PAX:
                own.update(_records(content, at))
            at += _BLOCK + _padded(info.size)
            continue
        facts, own = {**shared, **own}, {}
        name, data, count = facts.get("path", info.name), at + _BLOCK, _size(facts, info, at)
        sparse = info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse.") for key in facts)
        if info.type == tarfile.GNUTYPE_SPARSE:
            data += _sparse_map(file, header, data)
        # Links, folders and devices have no data, whatever their header says.
        if info.type not in (*_REGULAR, tarfile.GNUTYPE_SPARSE) and info.type in tarfile.SUPPORTED_TYPES:
            count = 0
        if data + count > size:
            raise DamagedTar(f"ends in the middle of {name}")
        if info.type in _REGULAR and not sparse:
            yield Member(name, data, count)
        at = data + _padded(count)


def _parsed(header: bytes, at: int, size: int) -> tarfile.TarInfo:
    if not header:
        raise DamagedTar("is empty" if size == 0 else "has no end mark: it may have been cut off")
    if len(header) < _BLOCK:
        raise DamagedTar("ends in the middle of a header")
    try:
        info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        raise DamagedTar(f"is damaged at byte {at}" if at else "is not an uncompressed tar archive") from None
    if info.size < 0:
        raise DamagedTar(f"is damaged at byte {at}")
    return info


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


def _records(content: bytes, at: int) -> dict[str, str]:
    """The records of a pax header, each `LENGTH KEY=VALUE\\n`."""
    records = {}
    while content:
        digits, _, _ = content.partition(b" ")
        try:
            length = int(digits)
        except ValueError:
            length = 0
        record = content[len(digits) + 1 : length]
        if not 0 < length <= len(content) or not record.endswith(b"\n"):
            raise DamagedTar(f"is damaged at byte {at}")
        key, _, value = record[:-1].partition(b"=")
        records[_text(key)] = _text(value)
        content = content[length:]
    return records


def _size(facts: dict[str, str], info: tarfile.TarInfo, at: int) -> int:
    """Bytes that a member takes in the archive."""
    try:
        size = int(facts.get("size", info.size))
    except ValueError:
        size = -1
    if size < 0:
        raise DamagedTar(f"is damaged at byte {at}")
    return size


def _sparse_map(file: BinaryIO, header: bytes, at: int) -> int:
    """Bytes of the blocks that go on with the map of an old GNU sparse file."""
    length, more = 0, header[482]
    while more:
        block = _read(file, at + length, _BLOCK)
        if len(block) < _BLOCK:
            raise DamagedTar("ends in the middle of a header")
        length, more = length + _BLOCK, block[504]
    return length


def _padded(count: int) -> int:
    return -(-count // _BLOCK) * _BLOCK


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")
