"""Class masks: which class each patch of a photo shows."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from art2real.core.scale import Scale
from art2real.data.images import FORMATS, BadImage, ImageLimits

NO_CLASS = 0


def decode_mask(content: bytes, width: int, height: int, limits: ImageLimits) -> np.ndarray:
    """A mask file as class numbers, uint8 or int32 `[H, W]`.

    The numbers are palette indices, grey levels or 16-bit values as the file has them: nothing is scaled and
    no palette is applied.

    Args:
        content: the file's bytes.
        width, height: of the upright photo, which the mask must share.

    Raises:
        BadImage: `bad_mask`: it cannot be decoded, has colours, or another size.
    """
    try:
        mask = Image.open(io.BytesIO(content), formats=FORMATS)
        if mask.size != (width, height):
            raise BadImage(
                "bad_mask", f"the mask has {mask.width}x{mask.height} pixels, the photo {width}x{height}"
            )
        if width * height > limits.max_pixels:
            raise BadImage("bad_mask", f"the mask has more than {limits.max_pixels} pixels")
        mask.load()
    except BadImage:
        raise
    except Exception:  # parsers of hostile bytes raise nearly anything
        raise BadImage("bad_mask", "the mask cannot be decoded") from None
    if mask.mode in ("P", "L"):
        return np.asarray(mask)
    if mask.mode == "1":
        return np.asarray(mask).astype(np.uint8)
    values = np.asarray(mask)
    if values.ndim != 2 or mask.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise BadImage("bad_mask", f"the mask has no class numbers from 0 to 65535 (its mode is {mask.mode})")
    return values.astype(np.int32)


def patch_classes(classes: np.ndarray, scale: Scale) -> np.ndarray:
    """The class of each patch of a square: the one that covers at least half of it, otherwise `NO_CLASS`.

    Of two classes with half a patch each, `NO_CLASS` gives way, and the smaller number wins.

    Args:
        classes: `[S, S]` class numbers.

    Returns:
        uint16 `[N]`, row-major over the scale's grid.
    """
    y, x = scale.positions(*classes.shape)
    result = np.full(len(y), NO_CLASS, np.uint16)
    for number in np.unique(classes)[::-1]:  # the smallest is written last
        if number == NO_CLASS:
            continue
        covered = np.zeros((classes.shape[0] + 1, classes.shape[1] + 1), np.int64)
        covered[1:, 1:] = (classes == number).cumsum(0, dtype=np.int64).cumsum(1)
        low, right = y + scale.size, x + scale.size
        count = covered[low, right] - covered[y, right] - covered[low, x] + covered[y, x]
        result[2 * count >= scale.size**2] = number
    return result
