"""A picture of an image's patches and their nearest real patches, what these make of it, and their photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from art2real.data.bank import MemoryBank
from art2real.index.drawing import (
    ACCENTS,
    FAINT,
    INK,
    PAPER,
    RULE,
    Colour,
    draw_badge,
    draw_box,
    draw_tile,
    font,
    shortened,
)
from art2real.index.matches import MOST_PHOTOS, DrawnPhoto, Match, ScaleMatches

# All in pixels.
_MARGIN = 24
_IMAGE = 300
_TILE = 72
_GAP = 8
_ROW = 104
_PHOTO = 88
_CAPTION = 190
_HEADING = 40
_SUBHEADING = 30
_FIRST_GAP = 26
_BADGES = 36  # the column of numbers before the patches
_MOST_DRAWN = 120
_LINE = 20

# More neighbours than this would make the picture wider than a screen.
_MOST_NEIGHBOURS = 8


@dataclass(frozen=True)
class _Columns:
    """Where the columns beside the image begin, and how many neighbours are shown."""

    patch: int
    first: int
    photo: int
    end: int
    shown: int

    @classmethod
    def of(cls, shown: int) -> _Columns:
        patch = _MARGIN + _IMAGE + 3 * _GAP + _BADGES
        first = patch + _TILE + _FIRST_GAP
        photo = first + shown * (_TILE + _GAP) + 2 * _GAP
        return cls(patch, first, photo, photo + _PHOTO + _GAP + _CAPTION, shown)


def draw_matches(bank: MemoryBank, image: np.ndarray, found: Sequence[ScaleMatches]) -> Image.Image:
    """Draws what was found at each scale.

    On the left the image with its chosen patches, and below it the image rebuilt from the nearest real patch
    of each of its patches. Beside them the chosen patches, each with its nearest real patches, and the photos
    most drawn from.

    Args:
        image: uint8 `[H, W, 3]` that the patches were cut from.
        found: as `art2real.index.matches.find_matches` returns it; at most 8 neighbours are drawn.
    """
    most = max((len(match.neighbours) for each in found for match in each.matches), default=0)
    columns = _Columns.of(min(most, _MOST_NEIGHBOURS))
    heights = [_HEADING + max(_left_height(image, each), _right_height(each)) for each in found]
    height = 2 * _MARGIN + sum(heights) + _MARGIN * max(len(found) - 1, 0)
    sheet = Image.new("RGB", (columns.end + _MARGIN, max(height, 4 * _MARGIN)), PAPER)
    top = _MARGIN
    for number, each in enumerate(found):
        if number:
            middle = top - _MARGIN // 2
            ImageDraw.Draw(sheet).line([(_MARGIN, middle), (columns.end, middle)], fill=RULE)
        _draw_matches(sheet, bank, image, each, top, columns)
        _draw_rebuilt(sheet, each, top + _HEADING + _drawn_shape(image)[1] + _GAP)
        _draw_photos(sheet, bank, each, top + _HEADING + len(each.matches) * _ROW, columns)
        top += heights[number] + _MARGIN
    return sheet


def _ratio(image: np.ndarray) -> float:
    """How much an image is enlarged: as wide as there is room, and no higher."""
    return _IMAGE / max(image.shape[:2])


def _drawn_shape(image: np.ndarray) -> tuple[int, int]:
    """Width and height that an image is drawn with."""
    return round(image.shape[1] * _ratio(image)), round(image.shape[0] * _ratio(image))


def _left_height(image: np.ndarray, each: ScaleMatches) -> int:
    return _drawn_shape(image)[1] + _GAP + _SUBHEADING + _drawn_shape(each.rebuilt)[1]


def _right_height(each: ScaleMatches) -> int:
    return len(each.matches) * _ROW + _SUBHEADING + (_MOST_DRAWN + _GAP + 3 * _LINE if each.photos else 0)


def _draw_image(sheet: Image.Image, image: np.ndarray, at: tuple[int, int]) -> None:
    sheet.paste(Image.fromarray(image).resize(_drawn_shape(image), Image.Resampling.LANCZOS), at)


def _draw_matches(
    sheet: Image.Image, bank: MemoryBank, image: np.ndarray, each: ScaleMatches, top: int, columns: _Columns
) -> None:
    draw = ImageDraw.Draw(sheet)
    size = each.scale.size
    title = f"{size} x {size} pixels"
    draw.text((_MARGIN, top), title, fill=INK, font=font(20))
    after = _MARGIN + draw.textlength(title, font(20)) + 12
    draw.text((after, top + 5), f"scale {each.scale}", fill=FAINT, font=font(14))
    draw.text((columns.patch, top + 5), "patch", fill=FAINT, font=font(14))
    if columns.shown:
        said = f"nearest of {each.rows:,} real patches"
        draw.text((columns.first, top + 5), said, fill=FAINT, font=font(14))
        draw.text((columns.photo, top + 5), "nearest one's photo", fill=FAINT, font=font(14))
    top += _HEADING

    shape = _drawn_shape(image)
    _draw_image(sheet, image, (_MARGIN, top))
    for number, match in enumerate(each.matches):
        accent = ACCENTS[number % len(ACCENTS)]
        box = draw_box(draw, (_MARGIN, top), shape, _ratio(image), match.y, match.x, size, accent)
        # The number stands outside of the box, on the side that has room.
        left_side = box[0] - 24 >= _MARGIN
        draw_badge(draw, (box[0] - 13 if left_side else box[2] + 13, (box[1] + box[3]) / 2), number, accent)
        y = top + number * _ROW
        draw_badge(draw, (columns.patch - 24, y + _TILE / 2), number, accent)
        draw_tile(sheet, match.pixels, (columns.patch, y), _TILE, accent)
        _draw_neighbours(sheet, bank, match, y, columns, accent)


def _draw_neighbours(
    sheet: Image.Image, bank: MemoryBank, match: Match, y: int, columns: _Columns, accent: Colour
) -> None:
    draw = ImageDraw.Draw(sheet)
    for place, neighbour in enumerate(match.neighbours[: columns.shown]):
        x = columns.first + place * (_TILE + _GAP)
        draw_tile(sheet, neighbour.pixels, (x, y), _TILE, accent if place == 0 else None)
        draw.text((x + _TILE / 2, y + _TILE + 4), f"{neighbour.similarity:.3f}", INK, font(14), anchor="ma")
    if not match.neighbours:
        draw.text((columns.first, y + _TILE / 2), "no real patch", fill=FAINT, font=font(14), anchor="lm")
        return
    best = match.neighbours[0]
    at = (columns.photo, y)
    _draw_photo(sheet, bank, best.photo, at, _PHOTO)
    ratio = _PHOTO / bank.image_size
    draw_box(draw, at, (_PHOTO, _PHOTO), ratio, best.y, best.x, len(best.pixels), accent)
    left = columns.photo + _PHOTO + _GAP
    lines = [(best.source, INK), (f"at row {best.y}, column {best.x}", FAINT)]
    if best.attribution:
        lines.append((best.attribution, FAINT))
    for number, (line, colour) in enumerate(lines):
        text = shortened(draw, line, _CAPTION)
        draw.text((left, y + 12 + _LINE * number), text, fill=colour, font=font(14))


def _draw_rebuilt(sheet: Image.Image, each: ScaleMatches, top: int) -> None:
    said = "rebuilt from the nearest real patches"
    ImageDraw.Draw(sheet).text((_MARGIN, top + 5), said, fill=FAINT, font=font(14))
    _draw_image(sheet, each.rebuilt, (_MARGIN, top + _SUBHEADING))


def _draw_photos(
    sheet: Image.Image, bank: MemoryBank, each: ScaleMatches, top: int, columns: _Columns
) -> None:
    draw = ImageDraw.Draw(sheet)
    used = f"{each.photos_used:,} photo{'' if each.photos_used == 1 else 's'}"
    said = f"made of patches of {used}; most come from" if each.photos else "no real patch"
    draw.text((columns.patch, top + 5), said, fill=FAINT, font=font(14))
    pitch = (columns.end - columns.patch + 2 * _GAP) // MOST_PHOTOS
    for place, drawn in enumerate(each.photos):
        _draw_drawn(sheet, bank, drawn, (columns.patch + place * pitch, top + _SUBHEADING), pitch - 2 * _GAP)


def _draw_drawn(
    sheet: Image.Image, bank: MemoryBank, drawn: DrawnPhoto, at: tuple[int, int], width: int
) -> None:
    draw = ImageDraw.Draw(sheet)
    side = min(width, _MOST_DRAWN)
    _draw_photo(sheet, bank, drawn.photo, at, side)
    rights = ", ".join(known for known in (drawn.licence, drawn.attribution) if known)
    lines = ((f"{drawn.share:.1%} of patches", INK), (drawn.source, FAINT), (rights, FAINT))
    for number, (line, colour) in enumerate(lines):
        text = shortened(draw, line, width)
        draw.text((at[0], at[1] + side + _GAP + _LINE * number), text, fill=colour, font=font(14))


def _draw_photo(sheet: Image.Image, bank: MemoryBank, photo: int, at: tuple[int, int], side: int) -> None:
    pixels = bank.photos[photo].pixels
    sheet.paste(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS), at)
