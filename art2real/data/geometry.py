"""Which squares of a photo a bank stores, and where they lie in the original."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from art2real.core.scale import Scale
from art2real.data.images import BadImage

Fit = Literal["crop", "tile"]


@dataclass(frozen=True)
class Geometry:
    """A photo is cut to `box`, scaled to `target`, and squares of `size` pixels are taken from it."""

    size: int
    """Side of the squares, pixels."""
    box: tuple[float, float, float, float]
    """Left, top, right, bottom in pixels of the upright original."""
    target: tuple[int, int]
    """Width and height that the box is scaled to, pixels."""
    corners: tuple[tuple[int, int], ...]
    """Left and top of each square in the scaled box, pixels: row-major."""

    @property
    def magnification(self) -> float:
        """Pixels of the original to one of a square."""
        return (self.box[2] - self.box[0]) / self.target[0]

    def place(self, number: int) -> tuple[float, float, float]:
        """Left, top and side of a square in pixels of the upright original."""
        left, top = self.corners[number]
        each = self.magnification
        return self.box[0] + left * each, self.box[1] + top * each, self.size * each

    def squares(self, pixels: np.ndarray, filter: Image.Resampling) -> list[np.ndarray]:
        """The squares of an image with the original's width and height: `[size, size(, 3)]` each.

        Args:
            pixels: `[H, W(, 3)]`, uint8 or (without channels) int32.
        """
        left, top, right, bottom = self.box
        if self.target == (right - left, bottom - top) and left == int(left) and top == int(top):
            pixels = pixels[int(top) : int(bottom), int(left) : int(right)]
        else:
            # The box cuts before it scales but lets the filter reach beyond: same pixels as a cut afterwards,
            # and no giant panorama in between.
            pixels = np.asarray(Image.fromarray(pixels).resize(self.target, filter, box=self.box))
        return [pixels[top : top + self.size, left : left + self.size] for left, top in self.corners]


def geometry(
    width: int, height: int, *, size: int, fit: Fit, tile_stride: int, resize: bool, max_pixels: int
) -> Geometry:
    """How a photo becomes squares.

    Args:
        width, height: of the upright photo, pixels.
        size: side of the squares, pixels.
        fit: "crop": the centre alone; "tile": the whole photo, but for a remainder below `tile_stride` at the
            right and lower border.
        tile_stride: step of the tiles, pixels of the scaled photo.
        resize: scale the photo so that its shorter side has `size` pixels; otherwise it keeps its own.
        max_pixels: most pixels of the scaled photo.

    Raises:
        BadImage: `too_small` (without `resize`) or `too_many_pixels`.
    """
    side = min(width, height)
    if not resize and side < size:
        raise BadImage("too_small", f"{width}x{height} pixels, a side below the {size} of an unscaled square")
    if fit == "crop":
        # Unscaled squares begin at a whole pixel, so that they are copies.
        cut = side if resize else size
        left, top = (width - cut) / 2, (height - cut) / 2
        if not resize:
            left, top = left // 1, top // 1
        return Geometry(size, (left, top, left + cut, top + cut), (size, size), ((0, 0),))
    target = (round(width * size / side), round(height * size / side)) if resize else (width, height)
    if target[0] * target[1] > max_pixels:
        raise BadImage(
            "too_many_pixels", f"{target[0]}x{target[1]} pixels once scaled, more than {max_pixels}"
        )
    y, x = Scale(size, tile_stride).positions(target[1], target[0])
    return Geometry(size, (0, 0, width, height), target, tuple(zip(x.tolist(), y.tolist(), strict=True)))
