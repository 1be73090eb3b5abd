"""Between images of uint8 and what a generator takes and gives: sizes, padding, rounding."""

from __future__ import annotations

import numpy as np
import torch

MULTIPLE = 4
"""A generator halves an image twice."""

LEAST = 8
"""Least side that a generator takes: after two halvings, a padding of one pixel by reflection needs a
neighbour."""


def padded_size(height: int, width: int) -> tuple[int, int]:
    """The least size that a generator takes and that holds an image: multiples of 4, 8 at least."""
    tall, wide = (max(LEAST, -(-side // MULTIPLE) * MULTIPLE) for side in (height, width))
    return tall, wide


def padded(pixels: np.ndarray) -> np.ndarray:
    """An image, uint8 `[H, W, 3]`, with its right and lower border padded by reflection to `padded_size`."""
    height, width = pixels.shape[:2]
    tall, wide = padded_size(height, width)
    # np.pad reflects as often as it takes, for images smaller than their padding.
    return np.pad(pixels, ((0, tall - height), (0, wide - width), (0, 0)), mode="reflect")


def to_pixels(images: torch.Tensor) -> np.ndarray:
    """`[B, 3, H, W]` in [-1, 1] -> uint8 `[B, H, W, 3]`; what is outside is clipped, NaN is black."""
    values = images.detach().float().cpu().nan_to_num(-1.0).add(1.0).mul(127.5).round_().clamp_(0, 255)
    return values.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
