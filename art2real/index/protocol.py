"""What retrieval looks like from outside, whatever is behind it: a file, many files, processes elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np

Neighbours = tuple[np.ndarray, np.ndarray]  # scores float32 [N, k], rows int64 [N, k]


class Retriever(Protocol):
    """Finds the real patches nearest to given ones at one scale of a bank."""

    def search(self, queries: np.ndarray, k: int) -> Neighbours:
        """The `k` nearest rows of each query.

        Args:
            queries: float32 `[N, D]` raw patches in [-1, 1], in the order of `art2real.core.patches.extract`.
            k: at least 1; may exceed the rows of the bank.

        Returns:
            Scores float32 `[N, k]`, the cosine after centring by the bank's mean, nearest first (rows of
            equal score in the order of their numbers), and row numbers int64 `[N, k]`. Where there is no
            row (k beyond the bank, a query that is not finite) the score is -inf and the row -1.

        Raises:
            ValueError: queries of another width, or k < 1.
        """
        ...


class Shards(Protocol):
    """The shards of one scale's index, in the order of their rows."""

    missing: Counter[int]
    """By number of a shard, the queries (rows of `search`) that were answered without it."""

    def search(self, unit_queries: np.ndarray, k: int) -> list[Neighbours]:
        """The `k` nearest rows in each shard; queries float32 `[N, D]` centred, of unit length, finite."""
        ...

    def cell_sizes(self) -> list[np.ndarray]:
        """Rows in each cell of the index, int64 `[C]`, one array a shard."""
        ...

    def rows_at(self, cells: Sequence[np.ndarray], offsets: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The row at each offset inside each cell: int64 `[M_s]` in, int64 `[M_s]` out, one array a shard.

        -1 where a shard was lost since `cell_sizes` counted its rows, and the search goes on without it.
        """
        ...


class PatchFetcher(Protocol):
    """Where the pixels of found rows come from."""

    def fetch(self, rows: np.ndarray) -> np.ndarray:
        """Patches of one scale, in the order of `rows`: int64 `[R]` -> uint8 `[R, size, size, 3]`.

        Raises:
            IndexError: a row number is outside the bank.
        """
        ...
