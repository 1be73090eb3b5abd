"""The files that a bank is being built from, on disk: an Arrow file with one record batch a task.

A listing may be far larger than what one process should hold, and every worker needs only its own part.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

import pyarrow as pa

from art2real.data.manifest import digest, temporary_name
from art2real.data.sources.entry import Entry

LISTING = "listing.arrow"

# Names of files need not be UTF-8.
_SCHEMA = pa.schema(
    {
        "source": pa.binary(),
        "file": pa.binary(),
        "bytes": pa.int64(),
        "offset": pa.int64(),
        "licence": pa.string(),
        "attribution": pa.string(),
        "mask": pa.binary(),
    }
)


@dataclass(frozen=True)
class Listing:
    """A listing that was written."""

    files: int
    input_sha256: str
    """Of the names, sizes and notes of all files."""
    tasks: tuple[tuple[int, str], ...]
    """Of each task: its number of files, and their own `input_sha256`."""


def write_listing(
    bank: Path, entries: Iterable[Entry], per_task: int, on_progress: Callable[[int], None] | None = None
) -> Listing:
    """Writes the listing of a bank that is being built; calls `on_progress` with the files found so far.

    Raises:
        OSError: it cannot be written. Errors of the source pass through.
    """
    tasks: list[tuple[int, str]] = []
    files = 0
    temporary = temporary_name(bank / LISTING)
    remaining = iter(entries)
    try:
        with pa.OSFile(os.fsencode(temporary), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
            while batch := list(islice(remaining, per_task)):
                writer.write_batch(_as_batch(batch))
                tasks.append((len(batch), _sha256(batch)))
                files += len(batch)
                if on_progress is not None:
                    on_progress(files)
        temporary.replace(bank / LISTING)
    finally:
        temporary.unlink(missing_ok=True)
    return Listing(files, digest(sha256 for _, sha256 in tasks), tuple(tasks))


def read_listing(bank: Path, number: int) -> list[Entry]:
    """The files of one task, counted from the listing's first."""
    with pa.memory_map(os.fsencode(bank / LISTING)) as file:
        columns = pa.ipc.open_file(file).get_batch(number).to_pydict()
    for name in ("source", "file", "mask"):
        columns[name] = [None if value is None else os.fsdecode(value) for value in columns[name]]
    return [
        Entry(**dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)
    ]


def _as_batch(entries: list[Entry]) -> pa.RecordBatch:
    columns: dict[str, list[object]] = {
        field.name: [getattr(entry, field.name) for entry in entries] for field in _SCHEMA
    }
    for name in ("source", "file", "mask"):
        columns[name] = [None if value is None else os.fsencode(str(value)) for value in columns[name]]
    return pa.record_batch(columns, schema=_SCHEMA)


def _sha256(entries: list[Entry]) -> str:
    """Where the corpus lies does not count: it may be mounted elsewhere when a build goes on."""
    return digest(
        "\0".join(
            (
                str(entry.bytes),
                entry.source,
                entry.licence or "",
                entry.attribution or "",
                PurePosixPath(entry.mask or "").name,
            )
        )
        for entry in entries
    )
