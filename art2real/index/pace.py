"""How fast this machine does the parts of an index's work: rows that are made up, some seconds in all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import faiss
import numpy as np

from art2real.index.factory import parse

Taken = Callable[[Callable[[], object]], list[float]]
"""Core-seconds of each round of a piece of work."""

# Values of a row, like those that PCA keeps of a patch.
_WIDTH = 64
_LISTS = 4096
_PROBES = 16
_ROWS = 131_072
_QUERIES = 2_048


def products(taken: Taken) -> list[float]:
    """Core-seconds of one multiply-add of comparing queries with centroids, which also train them
    and take rows in; one a round."""
    random = np.random.default_rng(0)
    centroids = _unit(random, _LISTS)
    queries = _unit(random, 2 * _QUERIES)
    index = faiss.IndexFlatL2(_WIDTH)
    index.add(centroids)
    seconds = taken(lambda: index.search(queries, 1))
    return [each / (len(queries) * _LISTS * _WIDTH) for each in seconds]


def scans(codec: str, taken: Taken) -> list[float]:
    """Core-seconds of scanning one byte of the rows' codes in inverted lists; one a round.

    Args:
        codec: SQfp16, SQ8 or PQ32, all of rows of 64 values.
    """
    random = np.random.default_rng(1)
    index = parse(f"IVF{_LISTS},{codec}", _WIDTH).new(_WIDTH)
    rows = _unit(random, _ROWS)
    ivf: Any = faiss.downcast_index(index)
    # Lists around random centroids are as long as learned ones, and nothing has to be learned but the codes.
    ivf.cp.niter = 1
    ivf.cp.min_points_per_centroid = 1
    ivf.cp.max_points_per_centroid = 4
    if isinstance(ivf, faiss.IndexIVFPQ):
        ivf.pq.cp.niter = 1
    index.train(rows[: 8 * _LISTS])
    index.add(rows)
    queries = _unit(random, _QUERIES)

    def search(lists: int) -> None:
        ivf.nprobe = lists
        index.search(queries, 20)

    few, many = _PROBES, 4 * _PROBES
    # What a search takes beside the scan is in both.
    scanned = len(queries) * (many - few) * _ROWS / _LISTS * ivf.code_size
    less, more = (taken(partial(search, lists)) for lists in (few, many))
    return [max(more_ - less_, more_ / 10) / scanned for less_, more_ in zip(less, more, strict=False)]


def _unit(random: np.random.Generator, count: int) -> np.ndarray:
    rows = random.standard_normal((count, _WIDTH), np.float32)
    unit: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
