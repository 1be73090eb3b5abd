"""Grids of pictures that show how far a run has come."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from art2real.core.estimators import PatchSource
from art2real.core.patches import extract
from art2real.core.scale import Scale
from art2real.translation.pixels import to_pixels

_GAP = 4
# Patches of a sheet, real ones beside each, and how large they are shown, in pixels.
_PATCHES, _NEAREST, _SHOWN_SIDE = 12, 5, 32


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


def retrieved_patches(images: torch.Tensor, sources: Mapping[Scale, PatchSource]) -> np.ndarray:
    """A sheet, uint8 `[H, W, 3]`: patches of images, each beside the real patches nearest to it.

    For each scale a block of six columns: the patch, then its five nearest, roughly in order; white where
    there is none. The patches lie evenly over the images.

    Args:
        images: `[B, 3, H, W]` in [-1, 1].
        sources: the scales of a memory bank.
    """
    blocks = []
    for scale, source in sources.items():
        patches = extract(images.float(), scale.size, scale.stride).flatten(0, 1)
        some = patches[torch.linspace(0, len(patches) - 1, _PATCHES).round().long()]
        near = source.nearest(some, _NEAREST).cpu()
        real = source.fetch(near.clamp_min(0).flatten()).cpu().reshape(*near.shape, -1)
        real[near < 0] = 1.0
        columns = [some.cpu(), *real.unbind(1)]
        shown = [
            F.interpolate(each.reshape(-1, 3, scale.size, scale.size), _SHOWN_SIDE, mode="nearest")
            for each in columns
        ]
        blocks.append(grid(shown))
    gap = np.full((blocks[0].shape[0], _SHOWN_SIDE // 2, 3), 255, np.uint8)
    return np.hstack([part for block in blocks for part in (block, gap)][:-1])


def write_sheet(path: Path, sheet: np.ndarray) -> None:
    """Writes a PNG of uint8 `[H, W, 3]`; it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    Image.fromarray(sheet).save(temporary, format="PNG")
    temporary.replace(path)
