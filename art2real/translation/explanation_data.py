"""An explanation as data for JSON, with the pictures that a viewer shows of it."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from art2real.data.bank import MemoryBank
from art2real.data.sources.places import is_local

if TYPE_CHECKING:
    from art2real.translation.explain import Explanation, ScaleSources

# Side of a photo's thumbnail in pixels, and how many there are at most.
THUMBNAIL = 96
MOST_THUMBNAILS = 1200
# Most pixels of an atlas of patches: browsers draw larger pictures badly or not at all.
_ATLAS_PIXELS = 2**24
_FIELDS = ["similarity", "square", "y", "x", "photo_y", "photo_x", "row"]


def as_data(explanation: Explanation, pictures: bool, local_paths: bool) -> dict[str, Any]:
    """Plain lists, numbers and texts.

    Args:
        explanation: what was found.
        pictures: whether sprites are added.
        local_paths: whether places on this machine's disks are told; URIs always are.

    Returns:
        `height`, `width`: of the picture, pixels.
        `grid`: `side` of the regions in pixels, `rows` and `columns`. The region that holds the point (y, x)
            is number `y // side * columns + x // side`.
        `neighbour_fields`: what the numbers of a neighbour are, in their order: `similarity` (cosine),
            `square` (position in `squares`), `y` and `x` (top left corner in the stored square, pixels),
            `photo_y` and `photo_x` (the same in the upright original photo, in its pixels), `row` (of the
            bank's patches at this scale).
        `scales`: of each `size` and `stride` in pixels, `rows` (patches of the bank), and `regions`: for each
            region `[y, x, neighbours]`, the top left corner of its patch in the picture, and its nearest
            real patches, nearest first; none for a plain patch.
        `square_size`: side of the stored squares, pixels.
        `squares`: those that hold neighbours, most drawn from first: `number` (in the bank), `photo`
            (position in `photos`), `x`, `y` and `side` (in pixels of the upright original). A patch has
            `size * side / square_size` pixels of the original.
        `photos`: each photo once, most drawn from first: `number` (of its first square), `source`, `place`
            (path or URI, or null), `licence`, `attribution` (null where not known), `width`, `height`,
            `share` (mean over the scales of the share of regions whose nearest real patch lies in it) and
            `shares` (by scale).
        With `pictures` also, as data URIs:
            in each scale `patches`: `uri` of a PNG with the neighbours' patches, row-major in `columns`, and
                `rows`: the row of each. Where there are too many, those farthest away have none.
            `thumbnails`: `uri` of a JPEG with the first `count` squares, row-major in `columns`, each `size`
                pixels.
    """
    order = _squares(explanation.scales)
    position = {number: place for place, number in enumerate(order)}
    grid, bank = explanation.regions, explanation.bank
    photo_of = {photo.number: place for place, photo in enumerate(explanation.photos)}
    records = {number: bank.photos[number] for number in order}
    boxes = {number: (each.crop_y, each.crop_x, each.crop_side) for number, each in records.items()}
    data: dict[str, Any] = {
        "height": grid.height,
        "width": grid.width,
        "grid": {"side": grid.side, "rows": grid.rows, "columns": grid.columns},
        "neighbour_fields": _FIELDS,
        "square_size": bank.image_size,
        "scales": [
            {
                "size": each.scale.size,
                "stride": each.scale.stride,
                "rows": each.bank_rows,
                "regions": _regions(each, position, boxes, bank.image_size),
            }
            for each in explanation.scales
        ],
        "squares": [
            {
                "number": number,
                "photo": photo_of[number - each.tile],
                "x": round(each.crop_x, 1),
                "y": round(each.crop_y, 1),
                "side": round(each.crop_side, 1),
            }
            for number, each in records.items()
        ],
        "photos": [
            {
                "number": photo.number,
                "source": photo.source,
                "place": photo.place if local_paths or not is_local(photo.place or "") else None,
                "licence": photo.licence,
                "attribution": photo.attribution,
                "width": photo.width,
                "height": photo.height,
                "share": round(photo.share, 6),
                "shares": [round(share, 6) for share in photo.shares],
            }
            for photo in explanation.photos
        ],
    }
    if pictures:
        for each, scale in zip(explanation.scales, data["scales"], strict=True):
            scale["patches"] = _patches(bank, each)
        data["thumbnails"] = _thumbnails(bank, order[:MOST_THUMBNAILS])
    return data


def _squares(scales: Sequence[ScaleSources]) -> list[int]:
    """The numbers of all squares with neighbours: those with most regions' nearest first."""
    weight: dict[int, float] = {}
    for each in scales:
        for rank, column in enumerate(each.squares.T):
            numbers, counts = np.unique(column[column >= 0], return_counts=True)
            for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
                weight[number] = weight.get(number, 0) + (count if rank == 0 else 0)
    return sorted(weight, key=lambda number: (-weight[number], number))


def _regions(
    found: ScaleSources,
    position: dict[int, int],
    boxes: dict[int, tuple[float, float, float]],
    square_size: int,
) -> list[list[Any]]:
    columns = (found.similarity, found.squares, found.square_y, found.square_x, found.rows)
    regions = []
    for place, (top, left) in enumerate(zip(found.y.tolist(), found.x.tolist(), strict=True)):
        neighbours = []
        for similarity, square, y, x, row in zip(*(each[place].tolist() for each in columns), strict=True):
            if row >= 0:
                box_y, box_x, side = boxes[square]
                in_photo = [
                    round(begin + at * side / square_size, 1) for begin, at in ((box_y, y), (box_x, x))
                ]
                neighbours.append([round(similarity, 4), position[square], y, x, *in_photo, row])
        regions.append([top, left, neighbours])
    return regions


def _patches(bank: MemoryBank, found: ScaleSources) -> dict[str, Any]:
    rows = found.rows.T.ravel()  # the nearest of all regions first
    _, places = np.unique(rows, return_index=True)
    rows = rows[np.sort(places)]
    rows = rows[rows >= 0][: max(1, _ATLAS_PIXELS // found.scale.size**2)]
    sheet, columns = _atlas(bank.patches(found.scale, rows))
    return {"uri": picture_uri(sheet, "PNG"), "columns": columns, "rows": rows.tolist()}


def _thumbnails(bank: MemoryBank, numbers: Sequence[int]) -> dict[str, Any]:
    tiles = np.zeros((len(numbers), THUMBNAIL, THUMBNAIL, 3), np.uint8)
    for place, number in enumerate(numbers):
        photo = Image.fromarray(bank.photos[number].pixels)
        tiles[place] = np.asarray(photo.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS))
    sheet, columns = _atlas(tiles)
    uri = picture_uri(sheet, "JPEG", quality=85)
    return {"uri": uri, "columns": columns, "count": len(numbers), "size": THUMBNAIL}


def _atlas(tiles: np.ndarray) -> tuple[np.ndarray, int]:
    """Tiles uint8 `[T, s, s, 3]` on one nearly square sheet, row-major, and its number of columns."""
    columns = max(1, math.ceil(math.sqrt(len(tiles))))
    lines = max(1, -(-len(tiles) // columns))
    side = tiles.shape[1]
    padded = np.zeros((lines * columns, side, side, 3), np.uint8)
    padded[: len(tiles)] = tiles
    sheet = padded.reshape(lines, columns, side, side, 3).transpose(0, 2, 1, 3, 4)
    return sheet.reshape(lines * side, columns * side, 3), columns


def picture_uri(pixels: np.ndarray, image_format: str, **options: Any) -> str:
    """A picture (uint8 `[H, W, 3]`) as a data URI; `options` are those of Pillow's writer of the format."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format=image_format, **options)
    content = base64.b64encode(out.getvalue()).decode()
    return f"data:image/{image_format.lower()};base64,{content}"
