"""Images through a generator: any size in, the same size out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from art2real.core.networks import ResNetGenerator
from art2real.core.patches import to_signed
from art2real.data.images import BadImage
from art2real.translation.pixels import LEAST, MULTIPLE, padded, padded_size, to_pixels
from art2real.translation.tiled import translate_tiled

__all__ = [
    "LEAST",
    "MULTIPLE",
    "WHOLE_PIXELS",
    "padded_size",
    "to_pixels",
    "translate_batch",
    "translate_image",
]

WHOLE_PIXELS = 2**20
"""Largest image translated in one piece: the published generator takes 1 KiB of memory a pixel."""


def translate_image(
    generator: torch.nn.Module, pixels: np.ndarray, *, whole_pixels: int = WHOLE_PIXELS
) -> np.ndarray:
    """G(image), of the same size, uint8 `[H, W, 3]`.

    The right and lower border are padded by reflection to a size that the generator can halve twice, and the
    result is cropped back.

    Args:
        generator: `[1, 3, H, W]` in [-1, 1] -> the same, on any device.
        pixels: RGB, uint8 `[H, W, 3]`.
        whole_pixels: a larger image goes through in bands (`translate_tiled`), with the same result.

    Raises:
        BadImage: too large for one piece, and the generator is not one that is known layer by layer, or it is
            too wide for bands.
        UserError: the disk has no room for the features of a very large image.
    """
    height, width = pixels.shape[:2]
    if height * width > whole_pixels:
        if isinstance(generator, ResNetGenerator):
            return translate_tiled(generator, pixels)
        raise BadImage("too_many_pixels", f"{width}x{height} pixels, more than {whole_pixels}")
    return translate_batch(generator, [pixels])[0]


def translate_batch(generator: torch.nn.Module, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """G(image) of several images in one pass, each of its own size, uint8 `[H, W, 3]`.

    Args:
        generator: `[B, 3, H, W]` in [-1, 1] -> the same, on any device.
        images: RGB, uint8 `[H, W, 3]`, all of one `padded_size`.
    """
    weight = next(generator.parameters(), None)
    batch = to_signed(torch.from_numpy(np.stack([padded(image) for image in images])).permute(0, 3, 1, 2))
    with torch.inference_mode():
        out = to_pixels(generator(batch if weight is None else batch.to(weight.device)))
    return [made[: image.shape[0], : image.shape[1]] for made, image in zip(out, images, strict=True)]
