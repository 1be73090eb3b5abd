"""Patches like those of a generator, with which the recall of an index is measured."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter, median_filter

from art2real.core.patches import flatten_pixels
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank

_PHOTOS = 100
_BLUR = 1.0  # pixels
_NOISE = 3.0  # of 255
_MEDIAN = 5  # pixels
# What the filters see of a photo around a patch: beyond, they hardly reach.
_MARGIN = 8


class Queries(NamedTuple):
    """Patches, and for each the rows of the photo that it was cut from."""

    patches: np.ndarray
    """float32 `[N, D]` in [-1, 1]."""
    own: np.ndarray
    """int64 `[N, 2]`: the first of those rows of the bank, and the end."""


def make_queries(bank: MemoryBank, scale: Scale, count: int, seed: int) -> np.ndarray:
    """The patches of `held_out_queries`."""
    return held_out_queries(bank, scale, count, seed).patches


def held_out_queries(bank: MemoryBank, scale: Scale, count: int, seed: int) -> Queries:
    """`count` patches of up to 100 photos, whose own rows are to count as not in the bank.

    They are cut at random places and made soft and a little wrong, as a generator's are: all are blurred
    (sigma 1 pixel) and noised (sigma 3 of 255); every second photo goes through a median filter of 5 pixels
    first, which leaves flat regions with clean borders, like paint. With its photo in the bank a query would
    find the place that it was cut from, and say that every index is perfect.
    """
    random = np.random.default_rng([seed, scale.size, scale.stride, 1])
    chosen = random.permutation(len(bank.photos))[:_PHOTOS]
    patches = np.empty((count, scale.size, scale.size, 3), np.float32)
    own = np.empty((count, 2), np.int64)
    for turn, number in enumerate(chosen.tolist()):
        rows = photo_rows(bank, scale, number)
        pixels = bank.photos[number].pixels
        for at in range(turn, count, len(chosen)):
            top, left = random.integers(0, bank.image_size - scale.size + 1, 2).tolist()
            patches[at] = _soft(pixels, top, left, scale.size, painterly=turn % 2 == 1)
            patches[at] += random.normal(scale=_NOISE, size=patches[at].shape)
            own[at] = rows.start, rows.stop
    return Queries(flatten_pixels(np.clip(patches, 0, 255)) * np.float32(2 / 255) - 1, own)


def photo_rows(bank: MemoryBank, scale: Scale, square: int) -> range:
    """The rows of the photo that a stored square shows: of all its squares, which follow each other."""
    sha256 = bank.photos[square].sha256
    first, end = square, square + 1
    while first > 0 and bank.photos[first - 1].sha256 == sha256:
        first -= 1
    while end < len(bank.photos) and bank.photos[end].sha256 == sha256:
        end += 1
    rows, columns = scale.grid(bank.image_size, bank.image_size)
    return range(first * rows * columns, end * rows * columns)


def _soft(pixels: np.ndarray, top: int, left: int, size: int, *, painterly: bool) -> np.ndarray:
    """The square patch at a place of a photo, filtered: float32 `[size, size, 3]` of 255."""
    above, before = max(top - _MARGIN, 0), max(left - _MARGIN, 0)
    window = pixels[above : top + size + _MARGIN, before : left + size + _MARGIN].astype(np.float32)
    if painterly:
        window = median_filter(window, (_MEDIAN, _MEDIAN, 1))
    soft = gaussian_filter(window, (_BLUR, _BLUR, 0))
    return soft[top - above : top - above + size, left - before : left - before + size]
