"""Search over all shards of a scale, merged as one index would answer and re-ranked with exact patches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import faiss
import numpy as np
import torch

from art2real.core.affinity import SOFTNESS, full_precision
from art2real.core.patches import flatten_pixels, to_signed
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.errors import UserError
from art2real.index.factory import chain, inverted_lists
from art2real.index.manifest import Trained, check_index
from art2real.index.protocol import Neighbours, PatchFetcher, Retriever, Shards
from art2real.index.shard import IndexShard, LocalShards, read_index

__all__ = [
    "BankRetriever",
    "Retriever",
    "Shards",
    "merge",
    "open_retriever",
    "unit_rows",
    "unit_rows_and_norms",
]

# Values of candidate patches held at a time while re-ranking: 64 MiB.
_RERANK_VALUES = 1 << 24
# Candidates scored again where the index is centred by a mean that is no longer the bank's.
_RERANK_MOVED = 20


def unit_rows(patches: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Patches `[N, D]` as the index holds them: centred by `mean` `[D]`, of unit length, float32."""
    return unit_rows_and_norms(patches, mean)[0]


def unit_rows_and_norms(patches: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`unit_rows`, and the length of each centred patch before: float32 `[N, D]` and `[N]`.

    A patch has the same length whatever the patches around it.
    """
    centred = torch.from_numpy(np.ascontiguousarray(patches, dtype=np.float32)) - torch.from_numpy(mean)
    norms = torch.linalg.vector_norm(centred, dim=-1, keepdim=True)
    # In place and without another pass; to the bit what `art2real.core.affinity.unit` computes.
    return centred.mul_(torch.rsqrt(norms.square() + SOFTNESS)).numpy(), norms[:, 0].numpy()


def merge(answers: Sequence[Neighbours], k: int) -> Neighbours:
    """The `k` best of several answers to the same queries; equal scores in the order of the row numbers."""
    scores = np.concatenate([answer[0] for answer in answers], axis=1)
    rows = np.concatenate([answer[1] for answer in answers], axis=1)
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def open_retriever(bank: MemoryBank, scale: Scale, threads: int | None = None) -> BankRetriever:
    """Loads the index of a scale into this process.

    Args:
        threads: that a search uses; None: as many as FAISS finds cores.

    Raises:
        UserError: no index, one that does not belong to the bank, or a damaged file.
    """
    manifest = check_index(bank, scale)
    shards = [
        IndexShard.load(bank.path / part.file.path, manifest.nprobe, threads) for part in manifest.parts
    ]
    return BankRetriever(bank, scale, LocalShards(shards), manifest.trained)


class BankRetriever:
    """A scale of a bank with its index: implements `Retriever`."""

    def __init__(
        self,
        bank: MemoryBank,
        scale: Scale,
        shards: Shards,
        trained: Trained | None = None,
        fetcher: PatchFetcher | None = None,
    ) -> None:
        """`shards`: here or in other processes; `trained`: None: read from the bank's index, and checked;
        `fetcher`: where the pixels of found rows come from, None: the bank's files."""
        self.bank = bank
        self.scale = scale
        self.shards = shards
        self.trained = check_index(bank, scale).trained if trained is None else trained
        self._fetcher = fetcher
        self._mean = bank.mean(scale)
        # Photos were added since the index was trained: its scores are those of another mean.
        self._moved = not np.array_equal(self.trained.centre, self._mean)

    def search(self, queries: np.ndarray, k: int) -> Neighbours:
        """The `k` nearest rows of each query: see `art2real.index.protocol.Retriever`.

        An index that compresses its rows gives candidates only: these are scored again with the bank's own
        patches, so that scores are exact and in the right order.
        """
        finite, (scores, rows) = self._candidates(queries, k)
        if self._depth:
            unit_queries = unit_rows(np.where(finite[:, None], queries, self._mean), self._mean)
            scores, rows = merge([(self._exact_scores(unit_queries, rows), rows)], k)
        scores[~finite], rows[~finite] = -np.inf, -1
        return scores, rows

    def neighbours(self, queries: np.ndarray, k: int) -> np.ndarray:
        """The rows that `search` finds, int64 `[N, k]`, in the order of the index's own scores.

        Who computes the distances anyway, as the loss does, is spared the half of the time that exact scores
        of many candidates take.
        """
        if self._depth > k:
            return self.search(queries, k)[1]
        finite, (_, rows) = self._candidates(queries, k)
        rows[~finite] = -1
        return rows

    def fetch(self, rows: np.ndarray) -> np.ndarray:
        """Patches: see `art2real.index.protocol.PatchFetcher`."""
        return self.bank.patches(self.scale, rows) if self._fetcher is None else self._fetcher.fetch(rows)

    @property
    def missing(self) -> int:
        """Queries that were answered without a lost shard; two lost shards count twice."""
        return self.shards.missing.total()

    @property
    def _depth(self) -> int:
        """Candidates that exact scores choose from; 0: the index's scores stand."""
        return max(self.trained.rerank, _RERANK_MOVED if self._moved else 0)

    def _candidates(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, Neighbours]:
        """Which queries are finite, bool `[N]`, and the best max(k, depth) rows by the index's scores."""
        if queries.ndim != 2 or queries.shape[1] != self.scale.dimension:
            raise ValueError(
                f"queries must be [N, {self.scale.dimension}] at scale {self.scale}, "
                f"got {list(queries.shape)}"
            )
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        centre = self.trained.centre
        finite = np.isfinite(queries).all(axis=1)
        unit_queries = unit_rows(np.where(finite[:, None], queries, centre), centre)
        count = max(k, self._depth)
        return finite, merge(self.shards.search(unit_queries, count), count)

    def _exact_scores(self, unit_queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Cosine of each query with each of its candidates, `[N, c]`; -inf where the row is -1."""
        scores = np.full(rows.shape, -np.inf, dtype=np.float32)
        step = max(1, _RERANK_VALUES // (rows.shape[1] * self.scale.dimension))
        for at in range(0, len(rows), step):
            here = rows[at : at + step]
            # Neighbouring patches share candidates: each is cut and normalised once.
            distinct, place = np.unique(here, return_inverse=True)
            if distinct[0] < 0:
                distinct = distinct[1:]
                place = place - 1
            if len(distinct) == 0:
                continue
            pixels = torch.from_numpy(flatten_pixels(self.fetch(distinct)))
            patches = unit_rows(to_signed(pixels).numpy(), self._mean)
            columns = torch.from_numpy(patches)[torch.from_numpy(place.reshape(here.shape)).clamp_min(0)]
            with full_precision(columns.device):
                exact = torch.bmm(columns, torch.from_numpy(unit_queries[at : at + step])[:, :, None])
            scores[at : at + step] = np.where(here < 0, np.float32(-np.inf), exact[:, :, 0].numpy())
        return scores

    @cached_property
    def _sizes(self) -> np.ndarray:
        """Rows of each cell in each shard, int64 `[S, C]`."""
        return np.stack(self.shards.cell_sizes())

    def cells(self) -> Neighbours:
        """The cells of the index: the direction that each one's rows have, and their number.

        Returns:
            float32 `[C, D]` of unit length, in the space of the unit rows, and int64 `[C]`. An index without
            inverted lists is one cell without a direction (0).

        Raises:
            UserError: the index type changes its rows in a way that has no way back.
        """
        return self._directions, self._sizes.sum(axis=0)

    @cached_property
    def _directions(self) -> np.ndarray:
        file = self.trained.file
        index = read_index(self.bank.path / file.path, file.bytes)
        ivf = inverted_lists(index)
        if ivf is None:
            return np.zeros((1, self.scale.dimension), dtype=np.float32)
        centres = ivf.quantizer.reconstruct_n(0, ivf.nlist)
        try:
            for transform in reversed(_all_transforms(index)):
                if isinstance(transform, faiss.LinearTransform):
                    transform.set_is_orthonormal()  # a file says yes of every transform
                centres = transform.reverse_transform(centres)
        except RuntimeError:
            raise UserError(
                f"the cells of a {self.trained.factory} index have no direction in the space of patches; "
                "build the index with a PCA or OPQ transform, or none"
            ) from None
        length = np.linalg.norm(centres, axis=1, keepdims=True)
        directions: np.ndarray = centres / np.maximum(length, np.finfo(np.float32).tiny)
        return directions

    def draw(self, cells: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """One row from each given cell, uniform inside it: int64 `[M]` -> int64 `[M]`, -1 from a lost shard.

        The same draws come out whatever the number of shards: a cell's rows are numbered over all of them.

        Raises:
            ValueError: a given cell is empty.
        """
        sizes = self._sizes[:, cells]  # [S, M]
        total = sizes.sum(axis=0)
        if (total == 0).any():
            raise ValueError(f"cell {cells[int(np.argmin(total))]} has no rows to draw from")
        offsets = random.integers(0, total)
        ends = np.cumsum(sizes, axis=0)
        owner = (offsets >= ends).sum(axis=0)
        offsets = offsets - (ends - sizes)[owner, np.arange(len(cells))]
        places = [np.flatnonzero(owner == shard) for shard in range(len(self._sizes))]
        found = self.shards.rows_at([cells[at] for at in places], [offsets[at] for at in places])
        rows = np.empty(len(cells), dtype=np.int64)
        for at, mine in zip(places, found, strict=True):
            rows[at] = mine
        return rows


def _all_transforms(index: Any) -> list[Any]:
    """What rows go through before they reach the inverted lists, in order."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexRefine):
        return _all_transforms(index.base_index)
    if isinstance(index, faiss.IndexPreTransform):
        return chain(index) + _all_transforms(index.index)
    return []
