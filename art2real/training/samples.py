"""Grids of pictures that show how far a run has come."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from art2real.translation.translate import to_pixels

_GAP = 4


def grid(columns: Sequence[torch.Tensor]) -> np.ndarray:
    """A sheet, uint8 `[H, W, 3]`, with one row an image and one column for each of `columns`.

    Args:
        columns: `[B, 3, H, W]` in [-1, 1] each, all of one shape; for a run x, G(x) and F(G(x)).
    """
    rows = torch.stack([column.float().cpu() for column in columns], 1)
    pixels = to_pixels(rows.flatten(0, 1)).reshape(*rows.shape[:2], *rows.shape[-2:], 3)
    count, width, height = len(rows), rows.shape[-1], rows.shape[-2]
    sheet = np.full((count * (height + _GAP) - _GAP, len(columns) * (width + _GAP) - _GAP, 3), 255, np.uint8)
    for row, images in enumerate(pixels):
        for column, image in enumerate(images):
            y, x = row * (height + _GAP), column * (width + _GAP)
            sheet[y : y + height, x : x + width] = image
    return sheet


def write_sheet(path: Path, sheet: np.ndarray) -> None:
    """Writes a PNG of uint8 `[H, W, 3]`; it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    Image.fromarray(sheet).save(temporary, format="PNG")
    temporary.replace(path)
