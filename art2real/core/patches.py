"""Square patches of images on a regular grid, the method's first step (see `art2real.core.scale`)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F


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
