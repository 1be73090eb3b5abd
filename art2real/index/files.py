"""The files of an index: written whole or not at all, and checked before they are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from art2real.data.manifest import FileEntry, describe_file, temporary_name
from art2real.errors import UserError
from art2real.index.manifest import Record, read_record

REBUILD = "build the index again with `build-index BANK --overwrite`"


def write_file(bank: Path, path: Path, write: Callable[[str], None]) -> FileEntry:
    """Calls `write` with a temporary name, which then becomes `path`, and describes the file.

    Raises:
        UserError: the file cannot be written.
    """
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(str(temporary))
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"index file {path} cannot be written: {str(error)[-160:]}") from None
    return describe_file(bank, path.relative_to(bank).as_posix())


def check_size(path: Path, size: int) -> None:
    """Refuses a file that has not `size` bytes.

    Raises:
        UserError: it is missing or truncated.
    """
    found = path.stat().st_size if path.is_file() else None
    if found is None:
        raise UserError(f"index file {path} is missing; {REBUILD}")
    if found != size:
        raise UserError(f"index file {path} has {found} bytes instead of {size}: it is truncated; {REBUILD}")


def is_whole(bank: Path, file: FileEntry) -> bool:
    """Whether a file is there, with all its bytes."""
    path = bank / file.path
    return path.is_file() and path.stat().st_size == file.bytes


def usable(path: Path, kind: type[Record]) -> Record | None:
    """The record of a step that was done; a damaged one counts as none: its step is done again."""
    try:
        return read_record(path, kind)
    except UserError:
        return None
