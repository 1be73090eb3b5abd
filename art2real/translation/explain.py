"""Which real photos each region of a translated picture was drawn from.

The loss pulls a translation towards the nearest real patches of a memory bank, so these are what a region
leans on: they are looked up as the loss does, in its own measure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from art2real.core.patches import to_signed
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.origins import place_of
from art2real.index.protocol import Retriever
from art2real.index.records import Request
from art2real.translation.explanation_data import as_data
from art2real.translation.regions import Regions


@dataclass(frozen=True, eq=False)
class ScaleSources:
    """The real patches nearest to the patch at the middle of each region, at one scale of a bank.

    All arrays are in the order of the regions, row-major; of `[N, k]` arrays the nearest is first, and a row
    of -1 means that there is none.
    """

    scale: Scale
    bank_rows: int
    """Patches that the bank has at this scale."""
    y: np.ndarray
    """int64 `[N]`: top of the region's patch in the picture, pixels; `x` its left."""
    x: np.ndarray
    rows: np.ndarray
    """int64 `[N, k]`: rows of the bank. All -1 for a plain patch: one so near to the bank's mean patch that
    its direction is noise, by the measure that leaves rows out of an index."""
    similarity: np.ndarray
    """float32 `[N, k]`: cosine after centring by the bank's mean, 1 at best; -inf where there is none."""
    squares: np.ndarray
    """int64 `[N, k]`: number in `bank.photos` of the square that holds the row."""
    square_y: np.ndarray
    """int64 `[N, k]`: top of the row's patch in that square, pixels; `square_x` its left."""
    square_x: np.ndarray


@dataclass(frozen=True)
class SourcePhoto:
    """A photo that holds some of the patches found."""

    number: int
    """In `bank.photos`, of its first square."""
    source: str
    """Its name in the bank."""
    place: str | None
    """Absolute path, or URI, of its file when the bank was built, where the bank knows it."""
    licence: str | None
    attribution: str | None
    width: int
    """Of the upright original, pixels."""
    height: int
    shares: tuple[float, ...]
    """By scale, of all regions: those whose nearest real patch lies in this photo."""

    @property
    def share(self) -> float:
        """The mean over the scales."""
        return sum(self.shares) / len(self.shares)


@dataclass(frozen=True, eq=False)
class Explanation:
    """What `explain` found."""

    regions: Regions
    scales: tuple[ScaleSources, ...]
    photos: tuple[SourcePhoto, ...]
    """Most drawn from first; those that no region's nearest patch lies in have a share of 0."""
    bank: MemoryBank = field(repr=False)

    def to_dict(self, pictures: bool, *, local_paths: bool = True) -> dict[str, Any]:
        """For JSON; see `art2real.translation.explanation_data.as_data` for its fields."""
        return as_data(self, pictures, local_paths)


def explain(
    image: np.ndarray,
    bank: MemoryBank,
    retrievers: Mapping[Scale, Retriever],
    *,
    k: int = 3,
    regions: int = 1024,
) -> Explanation:
    """The real patches nearest to each region of a picture, and the photos that they come from.

    A region is explained by the patch at its middle: of a picture with more pixels the regions are larger,
    not more, and so the work is bounded.

    Args:
        image: the translated picture in its own size, uint8 `[H, W, 3]`.
        bank: whose photos are the sources.
        retrievers: by scale; scales that the picture is too small for are left out.
        k: real patches of each region; fewer where the bank has fewer.
        regions: most of them; fewer where they would be smaller than the least stride of the scales.

    Raises:
        ValueError: k or regions below 1, an empty picture.
    """
    fitting = [scale for scale in retrievers if scale.size <= min(image.shape[:2])]
    least = min((scale.stride for scale in fitting), default=1)
    grid = Regions.of(image.shape[0], image.shape[1], regions, least)
    found = tuple(_sources(image, grid, bank, scale, retrievers[scale], k) for scale in fitting)
    return Explanation(grid, found, _photos(bank, found), bank)


def _sources(
    image: np.ndarray, grid: Regions, bank: MemoryBank, scale: Scale, retriever: Retriever, k: int
) -> ScaleSources:
    y, x = grid.patches(scale.size)
    # A view of all patches, of which only those asked for are copied: [N, 3, size, size], `extract`'s order.
    windows = np.lib.stride_tricks.sliding_window_view(image, (scale.size, scale.size), axis=(0, 1))
    vectors = to_signed(torch.from_numpy(windows[y, x].reshape(len(y), -1))).numpy()
    similarity, rows = (values.copy() for values in retriever.search(vectors, k))
    plain = np.linalg.norm(vectors - bank.mean(scale), axis=1) < Request().least_norm(scale)
    similarity[plain], rows[plain] = -np.inf, -1
    known = rows >= 0
    located = []
    for values in bank.locate(scale, rows[known]):
        located.append(np.full(rows.shape, -1, np.int64))
        located[-1][known] = values
    return ScaleSources(scale, bank.rows(scale), y, x, rows, similarity, *located)


def _photos(bank: MemoryBank, found: tuple[ScaleSources, ...]) -> tuple[SourcePhoto, ...]:
    named = np.unique(np.concatenate([each.squares.ravel() for each in found] or [np.empty(0, np.int64)]))
    named = named[named >= 0]
    # A photo in tiles has several squares, numbered one after the other.
    first = np.array([number - bank.photos[number].tile for number in named.tolist()], np.int64)
    numbers = np.unique(first)
    shares = np.zeros((len(numbers), len(found)))
    for at, each in enumerate(found):
        nearest = each.squares[:, 0]
        owners = first[np.searchsorted(named, nearest[nearest >= 0])]
        np.add.at(shares[:, at], np.searchsorted(numbers, owners), 1 / len(nearest))
    photos = []
    for place in np.argsort(-shares.sum(axis=1), kind="stable"):
        number = int(numbers[place])
        record = bank.photos[number]
        photos.append(
            SourcePhoto(
                number=number,
                source=record.source,
                place=place_of(bank, number),
                licence=record.licence,
                attribution=record.attribution,
                width=record.width,
                height=record.height,
                shares=tuple(shares[place].tolist()),
            )
        )
    return tuple(photos)
