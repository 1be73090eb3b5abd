"""A contact sheet of a memory bank: some of its photos and, at each scale, some of its patches."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank

# All in pixels. Two patches and the gap between them are as wide as a photo, so all columns line up.
_MARGIN = 32
_GAP = 4
_PATCH = 48
_PHOTO = 2 * _PATCH + _GAP
_WIDTH = 10 * (_PHOTO + _GAP) - _GAP
_TITLE = 76
_HEADING = 34
_CAPTION = 22
_BETWEEN = 32

_MOST_PHOTOS = 40
_MOST_LINES = 6

_PAPER = (255, 255, 255)
_INK = (32, 32, 32)
_FAINT = (110, 110, 110)
_EDGE = (216, 216, 216)


def draw_sheet(bank: MemoryBank, *, seed: int = 0) -> Image.Image:
    """Draws up to 40 photos and, at each scale, the mean patch and about 100 patches of a bank.

    Which ones is random, the same for the same seed. Only what is drawn is read. Patches are enlarged by
    whole factors without smoothing; those of more than 100 pixels are reduced.

    Raises:
        UserError: a file of the bank is missing or damaged.
    """
    random = np.random.default_rng(seed)
    photos = _draw_photos(bank, random)
    blocks = [photos, *(_draw_scale(bank, scale, random) for scale in bank.scales)]
    height = _TITLE + sum(block.height for block in blocks) + _BETWEEN * (len(blocks) - 1)
    sheet = Image.new("RGB", (_WIDTH + 2 * _MARGIN, height + 2 * _MARGIN), _PAPER)
    _draw_title(sheet, bank)
    top = _MARGIN + _TITLE
    for block in blocks:
        sheet.paste(block, (_MARGIN, top))
        top += block.height + _BETWEEN
    return sheet


def _draw_title(sheet: Image.Image, bank: MemoryBank) -> None:
    draw = ImageDraw.Draw(sheet)
    name = "".join(letter if letter.isprintable() else " " for letter in bank.path.resolve().name)
    draw.text((_MARGIN, _MARGIN), _shortened(draw, name, _font(26)), _INK, _font(26))
    counts = _counted(bank.manifest.photos, "photo")
    if _in_tiles(bank):
        counts += f" in {_counted(len(bank.photos), 'tile')}"
    side = bank.image_size
    counts += f" of {side} x {side} pixels, {_counted(len(bank.shards), 'shard')}"
    draw.text((_MARGIN, _MARGIN + 36), counts, _FAINT, _font(15))


def _draw_photos(bank: MemoryBank, random: np.random.Generator) -> Image.Image:
    chosen = _some(len(bank.photos), _MOST_PHOTOS, random)
    columns = _columns(_WIDTH, _PHOTO)
    block = _block(_HEADING + _lines_height(len(chosen), columns, _PHOTO))
    _draw_heading(block, "Tiles" if _in_tiles(bank) else "Photos", _out_of(len(chosen), len(bank.photos)))
    for place, number in enumerate(chosen.tolist()):
        photo = Image.fromarray(bank.photos[number].pixels).resize((_PHOTO, _PHOTO), Image.Resampling.LANCZOS)
        _paste_in_grid(block, photo, place, columns, left=0)
    return block


def _draw_scale(bank: MemoryBank, scale: Scale, random: np.random.Generator) -> Image.Image:
    side = _enlarged_side(scale.size, _PATCH)
    left = _PHOTO + _GAP  # the mean patch has a column of its own
    columns = _columns(_WIDTH - left, side)
    rows = _some(bank.rows(scale), columns * _MOST_LINES, random)
    height = max(_lines_height(len(rows), columns, side), _PHOTO + _CAPTION)
    block = _block(_HEADING + height)
    _draw_heading(
        block,
        f"{scale}, {_counted(bank.rows(scale), 'patch', 'patches')}",
        f"{_out_of(len(rows), bank.rows(scale))}, {scale.size} x {scale.size} pixels, "
        f"stride {scale.stride}, {_magnification(scale.size, side)}",
    )
    mean = _as_image(_to_pixels(bank.mean(scale), scale.size), _enlarged_side(scale.size, 2 * _PATCH))
    _paste(block, mean, (0, _HEADING))
    ImageDraw.Draw(block).text((0, _HEADING + mean.height + 5), "mean", _FAINT, _font(13))
    for place, pixels in enumerate(bank.patches(scale, rows)):
        _paste_in_grid(block, _as_image(pixels, side), place, columns, left=left)
    return block


def _in_tiles(bank: MemoryBank) -> bool:
    return bank.manifest.settings.fit == "tile"


def _some(total: int, most: int, random: np.random.Generator) -> np.ndarray:
    """Up to `most` of the numbers below `total`, ascending."""
    return np.sort(random.choice(total, min(most, total), replace=False))


def _enlarged_side(size: int, wanted: int) -> int:
    """The side of a patch drawn about `wanted` pixels wide: its size times a whole factor if that can be."""
    factor = min(round(wanted / size), _PHOTO // size)
    return min(size * max(factor, 1), _PHOTO)


def _magnification(size: int, side: int) -> str:
    if side < size:
        return "reduced"
    return "in their size" if side == size else f"enlarged {side // size} times"


def _to_pixels(vector: np.ndarray, size: int) -> np.ndarray:
    """A patch as the loss sees it, float `[D]` in [-1, 1], as uint8 `[size, size, 3]`."""
    values = np.rint((vector.reshape(3, size, size) + 1) * 127.5)
    return values.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)


def _as_image(pixels: np.ndarray, side: int) -> Image.Image:
    smooth = side < len(pixels)
    method = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    return Image.fromarray(np.ascontiguousarray(pixels)).resize((side, side), method)


def _columns(width: int, side: int) -> int:
    return (width + _GAP) // (side + _GAP)


def _lines_height(count: int, columns: int, side: int) -> int:
    return -(-count // columns) * (side + _GAP) - _GAP


def _block(height: int) -> Image.Image:
    # A pixel more than the tiles need, for the edge of those on the right and at the bottom.
    return Image.new("RGB", (_WIDTH + 1, height + 1), _PAPER)


def _paste_in_grid(block: Image.Image, tile: Image.Image, place: int, columns: int, left: int) -> None:
    line, column = divmod(place, columns)
    pitch = tile.width + _GAP
    _paste(block, tile, (left + column * pitch, _HEADING + line * pitch))


def _paste(block: Image.Image, tile: Image.Image, at: tuple[int, int]) -> None:
    """With a thin edge, without which a white sky would melt into the paper."""
    x, y = at
    ImageDraw.Draw(block).rectangle((x - 1, y - 1, x + tile.width, y + tile.height), outline=_EDGE)
    block.paste(tile, at)


def _draw_heading(block: Image.Image, title: str, detail: str) -> None:
    draw = ImageDraw.Draw(block)
    draw.text((0, 0), title, _INK, _font(18))
    after = draw.textlength(title, _font(18)) + 14
    draw.text((after, 4), detail, _FAINT, _font(14))


def _out_of(shown: int, total: int) -> str:
    return "all" if shown == total else f"{shown:,} at random"


def _counted(number: int, one: str, several: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def _shortened(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    """The beginning of a text that fits into the sheet's width."""
    if draw.textlength(text, font) <= _WIDTH:
        return text
    while draw.textlength(text + "...", font) > _WIDTH:
        text = text[:-1]
    return text + "..."


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
