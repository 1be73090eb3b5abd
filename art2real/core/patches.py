"""Square patches of images on a regular grid: DESIGN of the method's first step.

Tomei et al., "What was Monet seeing while painting? Translating artworks to photo-realistic images"
(2018), section 3: an image is cut at several scales, each a patch size and a stride.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F


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


def extract(images: torch.Tensor, size: int, stride: int) -> torch.Tensor:
    """Cuts images into flattened patches.

    Args:
        images: `[B, 3, H, W]`, any value range (training uses [-1, 1]).
        size: side of a patch in pixels.
        stride: step of the grid in pixels; a remainder at the right and lower border is left out.

    Returns:
        `[B, N, 3*size*size]`: patches in row-major order of the grid, each flattened channel by channel
        (all of R row by row, then G, then B). Differentiable.

    Raises:
        ValueError: the images are smaller than one patch, or not `[B, 3, H, W]`.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images must be [B, 3, H, W], got {list(images.shape)}")
    if min(images.shape[2:]) < size:
        raise ValueError(f"an image of {images.shape[2]}x{images.shape[3]} has no patch of {size}x{size}")
    return F.unfold(images, size, stride=stride).transpose(1, 2)


def flatten_pixels(patches: np.ndarray) -> np.ndarray:
    """uint8 `[R, s, s, 3]` patches as a bank returns them -> uint8 `[R, 3*s*s]` in `extract`'s order."""
    return np.ascontiguousarray(patches.transpose(0, 3, 1, 2)).reshape(len(patches), -1)


def to_signed(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 values 0..255 -> float32 in [-1, 1], the range of the networks and of the contextual loss."""
    return pixels.to(torch.float32).mul_(2.0 / 255.0).sub_(1.0)
