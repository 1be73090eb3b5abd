"""First and second moments of features, which parts of a set give as the whole set does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Moments:
    """Sums over the rows of a set of features, in float64; `a + b` is that of both sets together.

    What W workers add up is what one adds up, but for the order of the additions (relative 1e-15).
    """

    count: int
    """Rows, N."""
    total: np.ndarray
    """Sum of the rows, `[D]`."""
    outer: np.ndarray
    """Sum of the rows' outer products, `[D, D]`."""

    @classmethod
    def of(cls, features: np.ndarray) -> Moments:
        """The moments of `[N, D]` finite values."""
        rows = np.asarray(features, np.float64)
        if rows.ndim != 2:
            raise ValueError(f"features must be [N, D], got {list(rows.shape)}")
        return cls(len(rows), rows.sum(0), rows.T @ rows)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.outer + other.outer)

    @property
    def mean(self) -> np.ndarray:
        """`[D]`; there has to be a row."""
        if self.count < 1:
            raise ValueError("the mean needs a row at least")
        return self.total / self.count

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased (divided by N - 1), `[D, D]`; there have to be two rows."""
        if self.count < 2:
            raise ValueError(f"a covariance needs two rows at least, got {self.count}")
        return (self.outer - np.outer(self.total, self.mean)) / (self.count - 1)
