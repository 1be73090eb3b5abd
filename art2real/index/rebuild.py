"""An image put together from patches: each pixel is the mean of the patches that cover it."""

from __future__ import annotations

import numpy as np

from art2real.core.scale import Scale

_UNCOVERED = 128


def rebuild(patches: np.ndarray, known: np.ndarray, scale: Scale, height: int, width: int) -> np.ndarray:
    """Lays patches onto the grid of an image and averages them where they overlap.

    Args:
        patches: uint8 `[N, size, size, 3]`, row-major over the grid of an image of `height` x `width`.
        known: bool `[N]`; patches that are not known cover nothing.

    Returns:
        uint8 `[h, w, 3]` without the remainder at the right and lower border that the grid leaves out. Grey
        where no known patch lies.

    Raises:
        ValueError: the image has no patch of this scale, or another number of them.
    """
    rows, columns = scale.grid(height, width)
    if not 0 < rows * columns == len(patches) == len(known):
        raise ValueError(
            f"an image of {height}x{width} has {rows * columns} patches at scale {scale}, "
            f"got {len(patches)} and {len(known)}"
        )
    size, stride = scale.size, scale.stride
    used = known.reshape(rows, columns, 1)
    grid = patches.reshape(rows, columns, size, size, 3) * used[..., None, None]
    total = np.zeros(((rows - 1) * stride + size, (columns - 1) * stride + size, 3))
    count = np.zeros((*total.shape[:2], 1))
    # One place inside the patches at a time: what they write there does not overlap.
    for dy, dx in np.ndindex(size, size):
        here = (slice(dy, dy + rows * stride, stride), slice(dx, dx + columns * stride, stride))
        total[here] += grid[:, :, dy, dx]
        count[here] += used
    mean = np.rint(total / np.maximum(count, 1)).astype(np.uint8)
    return np.where(count > 0, mean, np.uint8(_UNCOVERED))
