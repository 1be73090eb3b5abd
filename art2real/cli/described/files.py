"""Files compared with their checksums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

OnProgress = Callable[[int, int], None]
"""Called with files done and files in all."""


def damaged_files(
    folder: Path, checksums: Mapping[str, str], compute: Callable[[Path], str], on_progress: OnProgress
) -> list[str]:
    """The names in `checksums` whose file in `folder` is missing or has another checksum."""
    damaged = []
    for number, (name, checksum) in enumerate(checksums.items(), 1):
        path = folder / name
        if not path.is_file() or compute(path) != checksum:
            damaged.append(name)
        on_progress(number, len(checksums))
    return damaged
