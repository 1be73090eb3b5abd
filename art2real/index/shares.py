"""How much of a bank is nearly plain, and how much of it is there more than once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xxhash

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank

_SAMPLE = 100_000
_ROWS_PER_BLOCK = 16384
# Of as many patches the checksums are held at a time: 128 MB, and two copies of them while they are compared.
_CHECKSUMS = 1 << 24


def plain_share(bank: MemoryBank, scale: Scale, *, levels: float = 1.0, seed: int = 0) -> float:
    """The share of patches with less contrast of their own than `levels` grey levels.

    Contrast is the root mean square of the difference from the patch's own colour, over all its values. It is
    measured on 100,000 patches that `seed` decides, or on all.
    """
    total = bank.rows(scale)
    rows = np.sort(np.random.default_rng(seed).choice(total, min(total, _SAMPLE), replace=False))
    plain = 0
    for at in range(0, len(rows), _ROWS_PER_BLOCK):
        pixels = bank.patches(scale, rows[at : at + _ROWS_PER_BLOCK]).astype(np.float32)
        contrast = np.sqrt(pixels.var(axis=(1, 2)).mean(axis=1))
        plain += int((contrast < levels).sum())
    return plain / len(rows)


def copies_share(bank: MemoryBank, scale: Scale) -> float:
    """The share of patches that are, byte for byte, an earlier one of the bank: 0 where all differ.

    The whole bank is read. Of a bank of more than 16 million patches only those are counted whose checksum is
    a multiple of a number, which keeps all copies of a patch together.
    """
    every = 1 + bank.rows(scale) // _CHECKSUMS
    counted = np.concatenate([part[part % every == 0] for part in _checksums(bank, scale)])
    return 1 - len(np.unique(counted)) / max(len(counted), 1)


def _checksums(bank: MemoryBank, scale: Scale) -> Iterator[np.ndarray]:
    """XXH3 of the pixels of each patch, uint64 `[M]` a block."""
    total = bank.rows(scale)
    for first in range(0, total, _ROWS_PER_BLOCK):
        pixels = bank.patches(scale, np.arange(first, min(first + _ROWS_PER_BLOCK, total)))
        yield np.fromiter(map(xxhash.xxh3_64_intdigest, pixels), np.uint64, len(pixels))
