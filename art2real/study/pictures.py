"""The pictures that participants see: copies that do not tell where they come from."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from art2real.data.images import decode, square
from art2real.study.design import Picture

_TIME = 315_532_800
"""Of change, for all files alike: the first second of 1980, which archives can hold as well."""


def write_picture(folder: Path, pixels: np.ndarray, *, system: str, item: str) -> Picture:
    """Writes pixels, uint8 `[H, W, 3]`, as a PNG under a random name, without metadata.

    Names are drawn from the system's source of randomness: no seed that is known tells them. OSError if the
    file cannot be written.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    content = buffer.getvalue()
    path = folder / f"{secrets.token_hex(8)}.png"
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.utime(path, (_TIME, _TIME))
    height, width, _ = pixels.shape
    checksum = hashlib.sha256(content).hexdigest()
    return Picture(file=path.name, system=system, item=item, sha256=checksum, width=width, height=height)


def write_sizes(
    folder: Path, source: Path, sizes: Sequence[int], *, system: str, item: str
) -> tuple[dict[int, Picture], bool]:
    """Writes the centre square of an image at several sizes, each scaled from the image itself.

    Returns:
        The pictures by their side in pixels, and whether the image is smaller than the largest of them.

    Raises:
        BadImage: the image cannot be used.
        OSError: a copy cannot be written.
    """
    pixels = decode(source)
    pictures = {size: write_picture(folder, square(pixels, size), system=system, item=item) for size in sizes}
    return pictures, min(pixels.shape[:2]) < max(sizes)
