"""A wide picture of what the demo did: paintings, translations, true photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from art2real.demo.finished import Triple

LABELS = ("painting", "translation", "true photo")
_SHOWN = 8
_TILE = 176
_GAP = 6
_LABEL = 118


def spread(triples: Sequence[Triple], count: int) -> list[Triple]:
    """At most `count` of them, evenly taken, so that every kind of scene is seen."""
    if len(triples) <= count:
        return list(triples)
    return [triples[number * len(triples) // count] for number in range(count)]


def write_picture(triples: Sequence[Triple], path: Path) -> None:
    """Writes a PNG with one labelled row for the paintings, one for their translations and, where they are
    known, one for the true photos."""
    shown = spread(triples, _SHOWN)
    rows = min(len(triple.pictures) for triple in shown)
    width = _LABEL + len(shown) * (_TILE + _GAP) + _GAP
    sheet = Image.new("RGB", (width, rows * (_TILE + _GAP) + _GAP), (250, 249, 246))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(18)
    for row in range(rows):
        y = _GAP + row * (_TILE + _GAP)
        draw.text((_LABEL - 12, y + _TILE / 2), LABELS[row], fill=(40, 38, 34), font=font, anchor="rm")
        for column, triple in enumerate(shown):
            tile = Image.fromarray(triple.pictures[row]).resize((_TILE, _TILE), Image.Resampling.LANCZOS)
            sheet.paste(tile, (_LABEL + _GAP + column * (_TILE + _GAP), y))
    temporary = path.with_name(f".{path.name}.part")
    sheet.save(temporary, format="PNG", optimize=True)
    temporary.replace(path)
