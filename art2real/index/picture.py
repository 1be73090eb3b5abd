"""A picture of an image's patches, their nearest real patches, and the photos that the best come from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from art2real.data.bank import MemoryBank
from art2real.index.matches import Match, ScaleMatches

# All in pixels.
_MARGIN = 24
_IMAGE = 372
_TILE = 72
_GAP = 8
_ROW = 104
_PHOTO = 88
_CAPTION = 190
_HEADING = 40
_FIRST_GAP = 26

_PAPER = (250, 249, 246)
_INK = (40, 38, 34)
_FAINT = (118, 114, 106)
_RULE = (222, 218, 209)
# Okabe and Ito's colours, which colour-blind people tell apart.
_ACCENTS = ((0, 114, 178), (213, 94, 0), (0, 138, 100), (181, 92, 143), (140, 108, 0), (86, 120, 160))
# Boxes around tiny patches would hide them.
_LEAST_BOX = 12

# More neighbours than this would make the picture wider than a screen.
_MOST_NEIGHBOURS = 8


def draw_matches(bank: MemoryBank, image: np.ndarray, found: Sequence[ScaleMatches]) -> Image.Image:
    """Draws matches: for each scale the image with its chosen patches, each with its nearest real patches.

    Args:
        image: uint8 `[H, W, 3]` that the patches were cut from.
        found: as `art2real.index.matches.find_matches` returns it; at most 8 neighbours are drawn.
    """
    most = max((len(match.neighbours) for each in found for match in each.matches), default=0)
    shown = min(most, _MOST_NEIGHBOURS)
    right = _MARGIN + _IMAGE + 3 * _GAP
    columns = _TILE + _FIRST_GAP + shown * (_TILE + _GAP)
    width = right + 36 + columns + 2 * _GAP + _PHOTO + _GAP + _CAPTION + _MARGIN
    heights = [_HEADING + max(_image_height(image), len(each.matches) * _ROW) for each in found]
    height = 2 * _MARGIN + sum(heights) + _MARGIN * max(len(found) - 1, 0)
    sheet = Image.new("RGB", (width, max(height, 4 * _MARGIN)), _PAPER)
    top = _MARGIN
    for number, each in enumerate(found):
        if number:
            ImageDraw.Draw(sheet).line(
                [(_MARGIN, top - _MARGIN // 2), (width - _MARGIN, top - _MARGIN // 2)], fill=_RULE
            )
        _draw_scale(sheet, bank, image, each, top, right, shown)
        top += heights[number] + _MARGIN
    return sheet


def _image_height(image: np.ndarray) -> int:
    return round(_IMAGE * min(1.0, image.shape[0] / image.shape[1]))


def _draw_scale(
    sheet: Image.Image,
    bank: MemoryBank,
    image: np.ndarray,
    each: ScaleMatches,
    top: int,
    right: int,
    shown: int,
) -> None:
    draw = ImageDraw.Draw(sheet)
    size = each.scale.size
    title = f"{size} x {size} pixels"
    draw.text((_MARGIN, top), title, fill=_INK, font=_font(20))
    draw.text(
        (_MARGIN + draw.textlength(title, _font(20)) + 12, top + 5),
        f"scale {each.scale}",
        fill=_FAINT,
        font=_font(14),
    )
    first = right + 36 + _TILE + _FIRST_GAP
    after = first + shown * (_TILE + _GAP) + 2 * _GAP
    draw.text((right + 36, top + 5), "patch", fill=_FAINT, font=_font(14))
    if shown:
        draw.text((first, top + 5), f"nearest of {each.rows:,} real patches", fill=_FAINT, font=_font(14))
        draw.text((after, top + 5), "nearest one's photo", fill=_FAINT, font=_font(14))
    top += _HEADING

    ratio = min(1.0, image.shape[0] / image.shape[1]) * _IMAGE / image.shape[0]
    shape = (round(image.shape[1] * ratio), round(image.shape[0] * ratio))
    sheet.paste(Image.fromarray(image).resize(shape, Image.Resampling.LANCZOS), (_MARGIN, top))
    for number, match in enumerate(each.matches):
        accent = _ACCENTS[number % len(_ACCENTS)]
        box = _draw_box(draw, (_MARGIN, top), shape, ratio, match.y, match.x, size, accent)
        # The number stands outside of the box, on the side that has room.
        left_side = box[0] - 24 >= _MARGIN
        _draw_badge(draw, (box[0] - 13 if left_side else box[2] + 13, (box[1] + box[3]) / 2), number, accent)
        y = top + number * _ROW
        _draw_badge(draw, (right + 12, y + _TILE / 2), number, accent)
        _draw_tile(sheet, match.pixels, (right + 36, y), accent)
        _draw_neighbours(sheet, bank, match, shown, (first, after, y), accent)


def _draw_neighbours(
    sheet: Image.Image,
    bank: MemoryBank,
    match: Match,
    shown: int,
    at: tuple[int, int, int],
    accent: tuple[int, int, int],
) -> None:
    draw = ImageDraw.Draw(sheet)
    first, after, y = at
    for place, neighbour in enumerate(match.neighbours[:shown]):
        x = first + place * (_TILE + _GAP)
        _draw_tile(sheet, neighbour.pixels, (x, y), accent if place == 0 else None)
        draw.text((x + _TILE / 2, y + _TILE + 4), f"{neighbour.similarity:.3f}", _INK, _font(14), anchor="ma")
    if not match.neighbours:
        draw.text((first, y + _TILE / 2), "no real patch", fill=_FAINT, font=_font(14), anchor="lm")
        return
    best = match.neighbours[0]
    photo = bank.photos[best.photo].pixels
    sheet.paste(Image.fromarray(photo).resize((_PHOTO, _PHOTO), Image.Resampling.LANCZOS), (after, y))
    _draw_box(
        draw, (after, y), (_PHOTO, _PHOTO), _PHOTO / len(photo), best.y, best.x, len(best.pixels), accent
    )
    left = after + _PHOTO + _GAP
    lines = [(best.source, _INK), (f"at row {best.y}, column {best.x}", _FAINT)]
    if best.attribution:
        lines.append((best.attribution, _FAINT))
    for number, (line, colour) in enumerate(lines):
        text = _shortened(draw, line, _CAPTION)
        draw.text((left, y + 12 + 20 * number), text, fill=colour, font=_font(14))


def _draw_tile(
    sheet: Image.Image, pixels: np.ndarray, at: tuple[int, int], accent: tuple[int, int, int] | None
) -> None:
    tile = Image.fromarray(np.ascontiguousarray(pixels)).resize((_TILE, _TILE), Image.Resampling.NEAREST)
    sheet.paste(tile, at)
    if accent is not None:
        x, y = at
        ImageDraw.Draw(sheet).rectangle((x - 3, y - 3, x + _TILE + 2, y + _TILE + 2), outline=accent, width=3)


def _draw_box(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    shape: tuple[int, int],
    ratio: float,
    y: int,
    x: int,
    size: int,
    accent: tuple[int, int, int],
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


def _draw_badge(
    draw: ImageDraw.ImageDraw, centre: tuple[float, float], number: int, accent: tuple[int, int, int]
) -> None:
    x, y = centre
    draw.ellipse((x - 11, y - 11, x + 11, y + 11), fill=accent, outline=(255, 255, 255), width=1)
    draw.text((x, y), str(number + 1), fill=(255, 255, 255), font=_font(14), anchor="mm")


def _shortened(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    """The end of a text that fits into `width`: file names differ at their end."""
    if draw.textlength(text, _font(14)) <= width:
        return text
    while text and draw.textlength("..." + text, _font(14)) > width:
        text = text[1:]
    return "..." + text


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
