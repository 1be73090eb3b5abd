"""Checksums of files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import xxhash


def file_xxh3(path: Path) -> str:
    """XXH3 (128 bits) of a file's content, hexadecimal.

    It guards against damage, not against forgery, at the speed of memory: SHA-256 of a bank's pixels would be
    a fifth of the time of its build.
    """
    return _digest(path, xxhash.xxh3_128())


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal: for files that come from elsewhere."""
    return _digest(path, hashlib.sha256())


def _digest(path: Path, checksum: Any) -> str:
    block = memoryview(bytearray(2**18))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            checksum.update(block[:count])
    return str(checksum.hexdigest())
