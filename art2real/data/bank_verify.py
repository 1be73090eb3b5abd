"""Whether the files of a bank are as they were written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from art2real.data.checksums import file_xxh3
from art2real.data.manifest import read_manifest


def verify(bank: Path, on_progress: Callable[[int, int], None] | None = None) -> list[str]:
    """Compares every file of a bank with its checksum; returns the paths of those missing or damaged.

    Args:
        on_progress: called with files done and files in all.

    Raises:
        UserError: there is no finished bank, or the manifest itself is damaged.
    """
    entries = read_manifest(bank).files
    damaged = []
    for number, entry in enumerate(entries):
        path = bank / entry.path
        if not path.is_file() or path.stat().st_size != entry.bytes or file_xxh3(path) != entry.checksum:
            damaged.append(entry.path)
        if on_progress is not None:
            on_progress(number + 1, len(entries))
    return damaged
