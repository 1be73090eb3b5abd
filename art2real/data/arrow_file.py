"""Writes the Arrow files of a bank: whole or not at all, and their pixels past the system's cache."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from art2real.data.manifest import FORMAT_VERSION, FileEntry, temporary_name

PAGE = 4096
"""The largest buffer of a file, if it fills one, begins at a multiple of this many bytes."""

_DIRECT = getattr(os, "O_DIRECT", 0)


def write_arrow(bank: Path, relative: str, table: pa.RecordBatch) -> FileEntry:
    """Writes a file of a bank, which has its name when all of it is on the disk, and describes it.

    The largest buffer, of photos the pixels, begins on a page of the file. So a mapped photo of 256 pixels
    fills 48 pages and touches no other; and from memory that begins on a page too it goes to the disk
    directly: copying pixels to the system's cache takes a third as long as decoding them.

    Raises:
        OSError: the bank cannot be written to.
    """
    path = bank / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    before, largest, after = _aligned(table)
    checksum = xxhash.xxh3_128()
    for part in (before, largest, after):
        checksum.update(part)
    temporary = temporary_name(path)
    try:
        with temporary.open("wb", buffering=0) as file:
            _write(file.fileno(), before)
            _write(file.fileno(), _write_directly(file.fileno(), largest))
            _write(file.fileno(), after)
            size = file.tell()
            os.fsync(file.fileno())
            if hasattr(os, "posix_fadvise"):
                # A bank larger than the memory would push all else out of the system's cache, this build too.
                os.posix_fadvise(file.fileno(), len(before), len(largest), os.POSIX_FADV_DONTNEED)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return FileEntry(path=relative, bytes=size, checksum=checksum.hexdigest())


class _Parts:
    """A file for Arrow that keeps what is written to it, without a copy."""

    closed = False

    def __init__(self) -> None:
        self.parts: list[memoryview] = []

    def write(self, part: bytes | pa.Buffer) -> int:
        self.parts.append(memoryview(part).cast("B"))
        return len(self.parts[-1])

    def tell(self) -> int:
        return sum(map(len, self.parts))

    def flush(self) -> None:
        """Arrow calls it."""

    def close(self) -> None:
        """Arrow calls it."""


def _aligned(table: pa.RecordBatch) -> tuple[bytes, memoryview, bytes]:
    """The content of a table's file: what comes before the largest buffer, that buffer, and the rest."""
    parts = _parts(table, 0)
    largest = max(range(len(parts)), key=lambda number: len(parts[number]))
    if len(parts[largest]) >= PAGE:
        parts = _parts(table, -sum(map(len, parts[:largest])) % PAGE)
    return b"".join(parts[:largest]), parts[largest], b"".join(parts[largest + 1 :])


def _parts(table: pa.RecordBatch, padding: int) -> list[memoryview]:
    metadata = {"art2real_bank_format": str(FORMAT_VERSION), "padding": " " * padding}
    table = table.replace_schema_metadata(metadata)
    sink = _Parts()
    with pa.PythonFile(sink, "w") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_batch(table)
    return sink.parts


def _write(file: int, content: bytes | memoryview) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]


def _write_directly(file: int, content: memoryview) -> memoryview:
    """Writes whole pages past the cache, where file system and memory allow it; gives what is left."""
    whole = len(content) // PAGE * PAGE
    if not _DIRECT or not whole or np.frombuffer(content, np.uint8).ctypes.data % PAGE:
        return content
    flags, written = fcntl.fcntl(file, fcntl.F_GETFL), 0
    try:
        fcntl.fcntl(file, fcntl.F_SETFL, flags | _DIRECT)
        while written < whole:
            written += os.write(file, content[written:whole])
    except OSError as error:
        if error.errno != errno.EINVAL:  # which says that this file system, or this place in it, cannot
            raise
    finally:
        fcntl.fcntl(file, fcntl.F_SETFL, flags)
    return content[written:]
