"""Several requests to the shards of one scale, answered in one pass over the inverted lists."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import faiss
import numpy as np

from art2real.index.factory import chain, inverted_lists
from art2real.index.protocol import Neighbours
from art2real.index.shard import IndexShard

# Types whose lists are scanned for each query by itself, under a linear transform or none. Compared by name:
# a class derived from one of these may scan in another way.
_SCANNED_BY_QUERY = ("IndexIVFFlat", "IndexIVFScalarQuantizer", "IndexIVFPQ", "IndexIVFRaBitQ")


class JoinedSearch:
    """Shards of one scale; what it answers is to the bit what each shard answers to each request alone.

    Matrix products (the transform, the choice of the cells) are done for each request by itself, because the
    last bit of such a product depends on how many rows it has. They are done once for all shards, which share
    the quantizer. The lists are then scanned for all requests together, in the order of the queries' first
    cells, so that a list is still in the cache when the next query wants it.

    Only inverted lists searched by one thread can be joined; all else is searched request by request.
    """

    def __init__(self, shards: Sequence[IndexShard], *, on_gpu: bool = False) -> None:
        """`shards`: of one index, with the same number of probes; `on_gpu`: whether they search there."""
        self.shards = tuple(shards)
        self._joinable = not on_gpu and all(map(_can_be_joined, self.shards))

    def search(self, requests: Sequence[np.ndarray], k: int) -> list[list[Neighbours]]:
        """The `k` nearest rows in each shard to each request.

        Args:
            requests: float32 `[N_i, D]` each, centred, of unit length, finite.

        Returns:
            For each request one answer a shard: see `art2real.index.protocol.Shards`.
        """
        if not self._joinable or not self.shards:
            return [[shard.search(request, k) for shard in self.shards] for request in requests]
        faiss.omp_set_num_threads(1)
        queries, distances, cells = self._cells(requests)
        order = np.argsort(cells[:, 0], kind="stable")
        bounds = list(pairwise(accumulate(map(len, requests), initial=0)))
        answers: list[list[Neighbours]] = [[] for _ in requests]
        for shard in self.shards:
            lists: Any = inverted_lists(shard.index)
            found = lists.search_preassigned(queries[order], k, cells[order], distances[order])
            scores, positions = (_put_back(each, order) for each in found)
            for answer, (begin, end) in zip(answers, bounds, strict=True):
                answer.append(shard.named(scores[begin:end], positions[begin:end]))
        return answers

    def _cells(self, requests: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All queries as the lists hold rows, and their distances to the nearest cells, and these."""
        index = self.shards[0].index
        lists: Any = inverted_lists(index)
        transforms = chain(index)
        parts = []
        for request in requests:
            queries = np.ascontiguousarray(request, dtype=np.float32)
            for transform in transforms:
                queries = transform.apply(queries)
            parts.append((queries, *lists.quantizer.search(queries, min(lists.nprobe, lists.nlist))))
        queries, distances, cells = (np.concatenate(each) for each in zip(*parts, strict=True))
        return queries, distances, cells


def _can_be_joined(shard: IndexShard) -> bool:
    index = faiss.downcast_index(shard.index)
    if isinstance(index, faiss.IndexPreTransform):
        index = faiss.downcast_index(index.index)
    return shard.threads == 1 and type(index).__name__ in _SCANNED_BY_QUERY


def _put_back(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    result = np.empty_like(values)
    result[order] = values
    return result
