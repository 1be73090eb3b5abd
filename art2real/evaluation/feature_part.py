"""What a task of features leaves: a part of a set's features, which can travel and be stored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from safetensors import SafetensorError
from safetensors.numpy import load, save


@dataclass(frozen=True)
class FeaturePart:
    """Features of the usable images of one task."""

    number: int
    images: tuple[str, ...]
    """Relative POSIX paths, in the order of the rows."""
    sha256: tuple[str, ...]
    """Of the images' contents."""
    skipped: tuple[tuple[str, str], ...]
    """Other files of the task, printable, each with the reason."""
    formats: dict[str, int]
    """Images by file format."""
    levels: dict[str, np.ndarray]
    """Features by level, float32 `[images, D]`."""

    def to_bytes(self) -> bytes:
        """A safetensors file: an array a level; everything else, and a checksum of all, in its metadata."""
        record = json.dumps(
            {
                "number": self.number,
                "images": self.images,
                "sha256": self.sha256,
                "skipped": self.skipped,
                "formats": self.formats,
            }
        )
        levels = {level: np.ascontiguousarray(values, np.float32) for level, values in self.levels.items()}
        return save(levels, {"record": record, "checksum": _checksum(record, levels)})

    @classmethod
    def from_bytes(cls, content: bytes) -> FeaturePart:
        """What `to_bytes` wrote.

        Raises:
            ValueError: the bytes are damaged.
        """
        try:
            levels = load(content)
            metadata = _metadata(content)
            record = metadata["record"]
            if metadata["checksum"] != _checksum(record, levels):
                raise ValueError("the checksum is another one")
            fields = json.loads(record)
            return cls(
                number=fields["number"],
                images=tuple(fields["images"]),
                sha256=tuple(fields["sha256"]),
                skipped=tuple((name, reason) for name, reason in fields["skipped"]),
                formats=fields["formats"],
                levels=levels,
            )
        except (SafetensorError, KeyError, TypeError) as error:
            raise ValueError(f"not a part of features: {error}") from None


def _metadata(content: bytes) -> Any:
    """A safetensors file begins with the length of a JSON header, 8 bytes, and that header."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length])["__metadata__"]


def _checksum(record: str, levels: dict[str, np.ndarray]) -> str:
    """XXH3 (128 bits) over the record and the arrays, hexadecimal."""
    checksum = xxhash.xxh3_128(record.encode())
    for level, values in sorted(levels.items()):
        checksum.update(f"{level} {values.shape} {values.dtype}".encode())
        checksum.update(values.tobytes())
    return checksum.hexdigest()
