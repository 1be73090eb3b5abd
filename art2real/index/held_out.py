"""Search as if some rows were not in the index, with one shard in memory at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import faiss
import numpy as np

from art2real.index.protocol import Neighbours
from art2real.index.shard import IndexShard, LocalShards

_faiss: Any = faiss  # its stubs know no arguments of parameters


class ShardFiles(Sequence[IndexShard]):
    """The shards of an index, each read when it is asked for and given up when another one is."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """`paths`: of `part-NNNNN.index`, in the order of their rows."""
        self._paths = tuple(paths)
        self._held: tuple[int, IndexShard] | None = None
        self.nprobe = 1
        self.seconds_reading = 0.0

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, number: int) -> IndexShard: ...

    @overload
    def __getitem__(self, number: slice) -> list[IndexShard]: ...

    def __getitem__(self, number: int | slice) -> IndexShard | list[IndexShard]:
        if isinstance(number, slice):
            raise TypeError("shards are read one at a time")
        if self._held is None or self._held[0] != number:
            self._held = None  # before the next is read, or two would be in memory
            began = time.perf_counter()
            self._held = number, IndexShard.load(self._paths[number], self.nprobe)
            self.seconds_reading += time.perf_counter() - began
        shard = self._held[1]
        shard.nprobe = self.nprobe
        return shard


class HeldOutShards(LocalShards):
    """Answers as if, for each query, a range of rows were not in the bank."""

    def __init__(self, shards: Sequence[IndexShard], own: np.ndarray) -> None:
        """`own`: int64 `[N, 2]`, first row and end of the rows that each query must not find."""
        super().__init__(shards)
        self._own = own

    def search(self, unit_queries: np.ndarray, k: int) -> list[Neighbours]:
        """As `LocalShards.search`; exactly the queries that `own` speaks of, in that order."""
        return [search_without(shard, unit_queries, k, self._own) for shard in self.shards]


def search_without(shard: IndexShard, unit_queries: np.ndarray, k: int, own: np.ndarray) -> Neighbours:
    """The `k` nearest rows of each query outside its own range `[N, 2]` of the bank's rows."""
    scores = np.empty((len(own), k), np.float32)
    rows = np.empty((len(own), k), np.int64)
    # In positions of the index, most queries of a bank of many shards have nothing to leave out: one group.
    ranges = np.minimum(shard.numbers.held_before(own), shard.index.ntotal)
    ranges[ranges[:, 0] == ranges[:, 1]] = 0
    for first, end in np.unique(ranges, axis=0).tolist():
        group = (ranges == (first, end)).all(axis=1)
        scores[group], rows[group] = _search_outside(shard, unit_queries[group], k, first, end)
    return scores, rows


def _search_outside(shard: IndexShard, queries: np.ndarray, k: int, first: int, end: int) -> Neighbours:
    """The nearest positions outside `first` to `end`, as rows."""
    if first == end:
        return shard.search(queries, k)
    excluded = faiss.IDSelectorRange(first, end)
    kept = faiss.IDSelectorNot(excluded)
    try:
        return shard.search(queries, k, selection(shard.index, kept))
    except RuntimeError:
        pass  # this type takes no selector: look past the excluded rows, wherever they stand
    scores, rows = shard.search(queries, min(k + end - first, shard.index.ntotal))
    own = np.isin(rows, shard.numbers.of(np.arange(first, end)))
    scores, rows = np.where(own, np.float32(-np.inf), scores), np.where(own, -1, rows)
    order = np.argsort(own, axis=1, kind="stable")[:, :k]
    padding = ((0, 0), (0, max(k - order.shape[1], 0)))
    return (
        np.pad(np.take_along_axis(scores, order, 1), padding, constant_values=-np.inf),
        np.pad(np.take_along_axis(rows, order, 1), padding, constant_values=-1),
    )


def selection(index: Any, selector: Any) -> Any:
    """`faiss.SearchParameters` of an index's type, as it is set, that look at selected positions alone."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return _faiss.SearchParametersPreTransform(index_params=selection(index.index, selector))
    if isinstance(index, faiss.IndexRefine):
        inner = selection(index.base_index, selector)
        return _faiss.IndexRefineSearchParameters(k_factor=index.k_factor, base_index_params=inner)
    if isinstance(index, faiss.IndexIVF):
        return _faiss.SearchParametersIVF(sel=selector, nprobe=index.nprobe)
    if isinstance(index, faiss.IndexHNSW):
        return _faiss.SearchParametersHNSW(sel=selector, efSearch=index.hnsw.efSearch)
    return _faiss.SearchParameters(sel=selector)
