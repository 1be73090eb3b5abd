"""The scale of patches: their size and the stride of their grid.

Tomei et al., "What was Monet seeing while painting? Translating artworks to photo-realistic images"
(2018), section 3: an image is cut at several scales. Free of torch, so that tools which only name or list
scales start fast.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, order=True)
class Scale:
    """One patch size and the stride of its grid, both in pixels."""

    size: int
    stride: int

    def __post_init__(self) -> None:
        if self.size < 1 or self.stride < 1:
            raise ValueError(f"patch size and stride must be at least 1, got {self.size}:{self.stride}")

    @classmethod
    def parse(cls, text: str) -> Scale:
        """`"16:6"` (size:stride) or `"16x16s6"` (the name of a scale's folder in a bank)."""
        match = re.fullmatch(r"(\d+):(\d+)", text) or re.fullmatch(r"(\d+)x\1s(\d+)", text)
        if match is None:
            raise ValueError(f"{text!r} is not a scale; write SIZE:STRIDE, for example 16:6")
        return cls(int(match[1]), int(match[2]))

    @property
    def name(self) -> str:
        """The scale's folder in a bank, for example `16x16s6`."""
        return f"{self.size}x{self.size}s{self.stride}"

    @property
    def dimension(self) -> int:
        """Values in one RGB patch."""
        return 3 * self.size * self.size

    def __str__(self) -> str:
        return f"{self.size}:{self.stride}"

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the patch grid of an image; (0, 0) if the image is smaller than a patch."""
        if height < self.size or width < self.size:
            return 0, 0
        return (height - self.size) // self.stride + 1, (width - self.size) // self.stride + 1

    def positions(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Top-left corners `(y, x)` of all patches, int64 `[N]` each, row-major like `extract`."""
        rows, columns = self.grid(height, width)
        y, x = np.divmod(np.arange(rows * columns), max(columns, 1))
        return y * self.stride, x * self.stride
