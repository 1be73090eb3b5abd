"""The record of a folder of results: what each was made from, one JSON line a result.

A line is written when its result is complete under its name, so that what is in the record exists. A process
that is killed between the two makes that one result again, and a line that was cut off counts as none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from art2real.data.manifest import write_text
from art2real.errors import UserError

RECORD = "translations.jsonl"


@dataclass(frozen=True)
class Made:
    """What decided a result."""

    result: str
    """Path relative to the folder of results."""
    source: str
    """Absolute path, or URI, of the image."""
    source_bytes: int
    """Its size; -1: not known before it is read."""
    source_modified: int
    """Time of the last change of its file, nanoseconds; 0: it is remote."""
    checkpoint: str
    """SHA-256 of the generator's weights; of a picture of several translations, those of all."""
    format: str
    quality: int | None
    """None: the format keeps every value."""


def read_made(out: Path) -> dict[str, tuple[Made, int]]:
    """What the record says of each result: the last line about it, and its size in bytes.

    Raises:
        UserError: the record cannot be read; one that is damaged only says less.
    """
    found: dict[str, tuple[Made, int]] = {}
    try:
        content = (out / RECORD).read_bytes()
    except FileNotFoundError:
        return found
    except OSError as error:
        raise UserError(f"{out / RECORD}: cannot be read: {error.strerror}") from None
    for line in content.splitlines():
        try:
            values = json.loads(line)
            size = values.pop("bytes")
            found[values["result"]] = Made(**values), size
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return found


def add_made(out: Path, made: Made, size: int) -> None:
    """Adds a line about a complete result of `size` bytes; several processes may do so at the same time."""
    line = json.dumps({**asdict(made), "bytes": size}) + "\n"
    # One write at the end of the file: lines of several processes do not mix.
    descriptor = os.open(out / RECORD, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, line.encode("ascii"))
    finally:
        os.close(descriptor)


def go_on(out: Path, *, forget: Iterable[str] = ()) -> None:
    """Makes the record ready for more lines: without one that was cut off, or of results to `forget`."""
    known, forgotten = read_made(out), set(forget)
    lines = [
        json.dumps({**asdict(made), "bytes": size}) + "\n"
        for result, (made, size) in known.items()
        if result not in forgotten
    ]
    write_text(out / RECORD, "".join(lines))
