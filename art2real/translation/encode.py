"""Pixels as the bytes of an image file."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from art2real.errors import UsageError, UserError

FORMATS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
"""Output formats and the suffix of their files."""
MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
QUALITY = 95
LONGEST_SIDE = {"png": 2**31 - 1, "jpeg": 65_500, "webp": 16_383}
"""Largest width and height, pixels; of JPEG what libjpeg writes, the format itself goes to 65535."""

# Photos: a quarter of the time of Pillow's own level 6 for files that are 5 % larger.
_PNG_LEVEL = 2
_FULL_COLOUR = 90


def encode(pixels: np.ndarray, image_format: str, quality: int = QUALITY) -> bytes:
    """An image as a file without metadata: its values are sRGB, which is what such a file means.

    Args:
        pixels: RGB, uint8 `[H, W, 3]`.
        image_format: `png` (every value is kept), `jpeg` (from quality 90 on with colours at full resolution)
            or `webp` (lossy).
        quality: 1 to 100, of jpeg and webp.

    Raises:
        UsageError: `quality` is none.
        UserError: the format does not hold so large an image.
    """
    if not 1 <= quality <= 100:
        raise UsageError(f"quality {quality}: from 1 to 100")
    height, width = pixels.shape[:2]
    longest = LONGEST_SIDE[image_format]
    if max(height, width) > longest:
        raise UserError(f"{width}x{height} pixels: {image_format} holds sides up to {longest}; choose png")
    options: dict[str, dict[str, Any]] = {
        "png": {"compress_level": _PNG_LEVEL},
        "jpeg": {"quality": quality, "subsampling": "4:4:4" if quality >= _FULL_COLOUR else "4:2:0"},
        "webp": {"quality": quality},
    }
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, image_format.upper(), **options[image_format])
    return file.getvalue()
