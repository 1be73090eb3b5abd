"""Pieces of the pictures of retrieval: tiles, boxes, numbers, text that fits."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

PAPER = (250, 249, 246)
INK = (40, 38, 34)
FAINT = (118, 114, 106)
RULE = (222, 218, 209)
# Okabe and Ito's colours, which colour-blind people tell apart.
ACCENTS = ((0, 114, 178), (213, 94, 0), (0, 138, 100), (181, 92, 143), (140, 108, 0), (86, 120, 160))

# Boxes around tiny patches would hide them.
_LEAST_BOX = 12


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, `size` pixels high."""
    return ImageFont.load_default(size)


def shortened(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    """The end of a text that fits into `width` pixels at size 14: file names differ at their end."""
    if draw.textlength(text, font(14)) <= width:
        return text
    while text and draw.textlength("..." + text, font(14)) > width:
        text = text[1:]
    return "..." + text


def draw_tile(
    sheet: Image.Image, pixels: np.ndarray, at: tuple[int, int], side: int, accent: Colour | None
) -> None:
    """A patch, uint8 `[s, s, 3]`, enlarged without smoothing; with a frame of the colour `accent`."""
    tile = Image.fromarray(np.ascontiguousarray(pixels)).resize((side, side), Image.Resampling.NEAREST)
    sheet.paste(tile, at)
    if accent is not None:
        x, y = at
        ImageDraw.Draw(sheet).rectangle((x - 3, y - 3, x + side + 2, y + side + 2), outline=accent, width=3)


def draw_box(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    shape: tuple[int, int],
    ratio: float,
    y: int,
    x: int,
    size: int,
    accent: Colour,
) -> tuple[float, float, float, float]:
    """A box around the patch at (y, x) of an image drawn at `corner`, kept inside of it; its edges."""
    half = max(size * ratio, _LEAST_BOX) / 2 + 2
    centre_x = min(max((x + size / 2) * ratio, half), shape[0] - half)
    centre_y = min(max((y + size / 2) * ratio, half), shape[1] - half)
    left, top = round(corner[0] + centre_x - half), round(corner[1] + centre_y - half)
    right, bottom = round(corner[0] + centre_x + half) - 1, round(corner[1] + centre_y + half) - 1
    draw.rectangle((left, top, right, bottom), outline=(255, 255, 255), width=3)
    draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=accent, width=2)
    return left, top, right, bottom


def draw_badge(draw: ImageDraw.ImageDraw, centre: tuple[float, float], number: int, accent: Colour) -> None:
    """A disc with the number after `number`."""
    x, y = centre
    draw.ellipse((x - 11, y - 11, x + 11, y + 11), fill=accent, outline=(255, 255, 255), width=1)
    draw.text((x, y), str(number + 1), fill=(255, 255, 255), font=font(14), anchor="mm")
