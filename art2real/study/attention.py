"""Pictures that are plainly spoiled: the wrong answer of attention checks and practice trials."""

from __future__ import annotations

import numpy as np

_BLOCKS = 8
_NOISE = 60.0


def spoiled(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The picture with its blocks in a random order and heavy noise over it.

    Args:
        pixels: uint8 `[H, W, 3]`; each side is cut into eight blocks at most.
        random: where order and noise come from.

    Nobody who looks takes it for a photo, or for a picture of what the other one shows; and it is made of the
    same colours, so that it is not told by these alone.
    """
    height, width, _ = pixels.shape
    rows, columns = min(_BLOCKS, height), min(_BLOCKS, width)
    tall, wide = height // rows, width // columns
    # What is left beyond the last whole block stays where it is, under the noise.
    result = pixels.astype(np.float32)
    blocks = result[: rows * tall, : columns * wide].reshape(rows, tall, columns, wide, 3)
    flat = blocks.transpose(0, 2, 1, 3, 4).reshape(rows * columns, tall, wide, 3)
    mixed = flat[_derangement(rows * columns, random)].reshape(rows, columns, tall, wide, 3)
    result[: rows * tall, : columns * wide] = mixed.transpose(0, 2, 1, 3, 4).reshape(
        rows * tall, columns * wide, 3
    )
    result += random.normal(scale=_NOISE, size=result.shape)
    return np.clip(result, 0, 255).round().astype(np.uint8)


def _derangement(count: int, random: np.random.Generator) -> np.ndarray:
    """An order in which nothing is at its own place: one random cycle through all."""
    cycle = random.permutation(count)
    order = np.empty(count, dtype=int)
    order[cycle] = np.roll(cycle, 1)
    return order
