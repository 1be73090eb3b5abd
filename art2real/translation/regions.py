"""The regions that a picture is explained in: a grid of squares that covers it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Regions:
    """Squares of `side` pixels from the upper left corner on; the last row and column may be cut."""

    height: int
    """Of the picture, pixels."""
    width: int
    side: int

    @classmethod
    def of(cls, height: int, width: int, most: int, least_side: int = 1) -> Regions:
        """The smallest squares of which at most `most` cover a picture, no smaller than `least_side`.

        Raises:
            ValueError: the picture is empty, or `most` is below 1.
        """
        if min(height, width, most) < 1:
            raise ValueError(f"{most} regions of a picture of {height}x{width}: each must be at least 1")
        sides = range(least_side, max(height, width, least_side) + 1)
        enough = bisect_left(sides, True, key=lambda side: cls(height, width, side).count <= most)
        return cls(height, width, sides[enough])

    @property
    def rows(self) -> int:
        return -(-self.height // self.side)

    @property
    def columns(self) -> int:
        return -(-self.width // self.side)

    @property
    def count(self) -> int:
        return self.rows * self.columns

    def patches(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Top-left corners `(y, x)` of the patch of `size` pixels at the middle of each region, or as near to
        it as the picture's border allows: int64 `[count]` each, row-major."""
        y, x = (
            np.clip(_middles(length, self.side) - size // 2, 0, length - size)
            for length in (self.height, self.width)
        )
        return np.repeat(y, self.columns), np.tile(x, self.rows)


def _middles(length: int, side: int) -> np.ndarray:
    begins = np.arange(0, length, side, dtype=np.int64)
    return (begins + np.minimum(begins + side, length)) // 2
