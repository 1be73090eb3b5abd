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

# Values of a row, like those that PCA keeps of a patch, and of a narrow one.
WIDE, NARROW = 64, 16
_LISTS = 4096
_PROBES = 16
_ROWS = 131_072
# Times that the rows are put into their lists: codes are to be scanned from memory, not from the cache.
_COPIES = 6
_QUERIES = 1_024


def products(taken: Taken, width: int) -> list[float]:
    """Core-seconds of comparing one query with one centroid, of `width` values each, as it is done to search,
    to learn centroids and to take rows in; one a round."""
    random = np.random.default_rng(0)
    centroids = _unit(random, _LISTS, width)
    queries = _unit(random, 8 * _QUERIES, width)
    index = faiss.IndexFlatL2(width)
    index.add(centroids)
    seconds = taken(lambda: index.search(queries, 1))
    return [each / (len(queries) * _LISTS) for each in seconds]


def scans(codec: str, taken: Taken, width: int = WIDE) -> list[float]:
    """Core-seconds of scanning one row's code in inverted lists; one a round.

    Args:
        codec: SQfp16, SQ8 or PQ32, of rows of `width` values.
    """
    random = np.random.default_rng(1)
    index = parse(f"IVF{_LISTS},{codec}", width).new(width)
    rows = _unit(random, _ROWS, width)
    ivf: Any = faiss.downcast_index(index)
    # Lists around random centroids are as long as learned ones, and nothing has to be learned but the codes.
    ivf.cp.niter = 1
    ivf.cp.min_points_per_centroid = 1
    ivf.cp.max_points_per_centroid = 4
    if isinstance(ivf, faiss.IndexIVFPQ):
        ivf.pq.cp.niter = 1
    index.train(rows[: 8 * _LISTS])
    index.add(rows)
    once = faiss.clone_index(index)
    for _ in range(_COPIES - 1):
        index.merge_from(faiss.clone_index(once), index.ntotal)
    queries = _unit(random, _QUERIES, width)

    def search(lists: int) -> None:
        ivf.nprobe = lists
        index.search(queries, 32)

    few, many = _PROBES, 4 * _PROBES
    # What a search takes beside the scan is in both.
    scanned = len(queries) * (many - few) * index.ntotal / _LISTS
    pairs = zip(*(taken(partial(search, lists)) for lists in (few, many)), strict=False)
    return [max(more - less, more / 10) / scanned for less, more in pairs]


def _unit(random: np.random.Generator, count: int, width: int) -> np.ndarray:
    rows = random.standard_normal((count, width), np.float32)
    unit: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
