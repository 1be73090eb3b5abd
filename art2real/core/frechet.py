"""Fréchet distance between the Gaussians of two sets of features, and how sure it is.

    d = |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2))

Dowson and Landau, "The Fréchet distance between multivariate normal distributions", 1982, equation 4; with
Inception features it is the FID (Heusel et al., "GANs trained by a two time-scale update rule converge to a
local Nash equilibrium", 2017, equation 6).

The trace of the root is the sum of the singular values of A B^T, where A^T A = C1 and B^T B = C2 are any
factors of the covariances. So no matrix is ever rooted: with fewer rows than dimensions the centred rows are
factors themselves, else C1 is split by a pivoted Cholesky decomposition and the squares of the singular
values are eigenvalues of a symmetric matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigvalsh
from scipy.linalg.lapack import dpstrf

from art2real.core.moments import Moments


def frechet_distance(first: Moments, second: Moments) -> float:
    """The distance from the moments of two sets, each of two rows at least; both orders give the same.

    Raises:
        ValueError: too few rows, other numbers of dimensions, or values that are not finite.
    """
    one, other = first.covariance, second.covariance
    if one.shape != other.shape:
        raise ValueError(f"covariances differ in size: {list(one.shape)}, {list(other.shape)}")
    shift = np.square(first.mean - second.mean).sum()
    return _finite(shift + np.trace(one) + np.trace(other) - 2 * _trace_of_root(one, other))


def frechet_of_features(first: np.ndarray, second: np.ndarray) -> float:
    """The distance between `[N, D]` and `[M, D]` features, N and M two at least; cheap where N or M < D.

    Raises:
        ValueError: too few rows, other numbers of dimensions, or values that are not finite.
    """
    return _Pair(first, second).distance()


@dataclass(frozen=True)
class Spread:
    """What resampling says of a distance."""

    deviation: float
    """Standard deviation over the resamples."""
    resamples: int

    def interval(self, estimate: float) -> tuple[float, float]:
        """95 % around the estimate, not below zero.

        It covers what sets of this size have on average. It is not made of percentiles: a resample has only
        63 % of its rows once, and the fewer rows, the greater the distance.
        """
        half = 1.96 * self.deviation
        return max(estimate - half, 0.0), estimate + half


def bootstrap(first: np.ndarray, second: np.ndarray, *, resamples: int, seed: int) -> Spread:
    """The spread of the distance when the rows of both sets are drawn anew, with replacement.

    Args:
        first, second: features `[N, D]`, `[M, D]`.
        resamples: how often, two at least.
        seed: of the draws.
    """
    pair = _Pair(first, second)
    rng = np.random.default_rng(seed)
    found = [pair.distance(*pair.draw(rng)) for _ in range(resamples)]
    return Spread(float(np.std(found, ddof=1)), resamples)


def extrapolate(first: np.ndarray, second: np.ndarray, *, seed: int, points: int = 15) -> float:
    """The distance that sets without end would have: the constant of a line through 1/N (FD∞).

    Chong and Forsyth, "Effectively unbiased FID and Inception score and where to find them", 2020, section
    3: the distance of N rows is greater than that of all by about a constant over N. Here both sets shrink
    together, to the same share of their rows, because both make it greater.

    Args:
        first, second: features `[N, D]`, `[M, D]`, of eight rows at least.
        seed: of the subsets.
        points: subsets, from a quarter of the rows to all, evenly in 1/N.
    """
    rng = np.random.default_rng(seed)
    shares = 1 / np.linspace(4, 1, points)
    found = []
    for share in shares:
        some, others = (_subset(rows, share, rng) for rows in (first, second))
        found.append(_Pair(some, others).distance())
    _, constant = np.polyfit(1 / shares, found, 1)
    return float(constant)


def _subset(rows: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    chosen = rng.choice(len(rows), max(2, round(share * len(rows))), replace=False)
    return rows[np.sort(chosen)]


class _Pair:
    """Two sets of features whose distance is asked for again and again, with other weights of the rows."""

    def __init__(self, first: np.ndarray, second: np.ndarray) -> None:
        self._rows = [np.asarray(rows, np.float64) for rows in (first, second)]
        one, other = self._rows
        if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1]:
            raise ValueError(
                f"features must be [N, D] and [M, D], got {list(one.shape)}, {list(other.shape)}"
            )
        if min(len(one), len(other)) < 2:
            raise ValueError(f"a covariance needs two rows at least, got {len(one)} and {len(other)}")
        # Distances do not change when both are moved, and near zero less is lost to rounding.
        centre = one.mean(0)
        self._rows = [rows - centre for rows in self._rows]
        self._lengths = [np.square(rows).sum(1) for rows in self._rows]
        few = min(len(one), len(other)) < one.shape[1]
        self._cross = self._rows[0] @ self._rows[1].T if few else None

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """How often each row comes when as many as there are are drawn with replacement."""
        one, other = (
            np.bincount(rng.integers(len(rows), size=len(rows)), minlength=len(rows)).astype(np.float64)
            for rows in self._rows
        )
        return one, other

    def distance(self, *weights: np.ndarray) -> float:
        """Where each row counts as often as its weight says; without weights once."""
        counts = weights or tuple(np.ones(len(rows)) for rows in self._rows)
        means, traces = [], []
        for rows, lengths, weight in zip(self._rows, self._lengths, counts, strict=True):
            total = weight.sum()
            means.append(weight @ rows / total)
            traces.append((weight @ lengths - total * np.square(means[-1]).sum()) / (total - 1))
        if self._cross is None:
            root = _trace_of_root(
                *(_covariance(*each) for each in zip(self._rows, means, counts, strict=True))
            )
        else:
            root = self._few(counts, means)
        return _finite(np.square(means[0] - means[1]).sum() + sum(traces) - 2 * root)

    def _few(self, counts: tuple[np.ndarray, ...], means: list[np.ndarray]) -> float:
        """Sum of the singular values of A B^T, of centred and weighted rows, from products made once."""
        assert self._cross is not None
        one, other = (rows @ mean for rows, mean in zip(self._rows, means[::-1], strict=True))
        product = self._cross - one[:, None] - other[None] + means[0] @ means[1]
        left, right = (np.sqrt(weight / (weight.sum() - 1)) for weight in counts)
        product *= left[:, None] * right[None]
        product = product[np.ix_(left > 0, right > 0)]  # rows that were not drawn
        smaller = product if len(product) <= len(product.T) else product.T
        return _sum_of_roots(smaller @ smaller.T)


def _covariance(rows: np.ndarray, mean: np.ndarray, weight: np.ndarray) -> np.ndarray:
    centred = (rows - mean) * np.sqrt(weight / (weight.sum() - 1))[:, None]
    return centred.T @ centred


def _trace_of_root(one: np.ndarray, other: np.ndarray) -> float:
    # A covariance of fewer rows than dimensions has no ordinary Cholesky factor; the pivoted one stops at
    # its rank.
    packed, pivots, rank, _ = dpstrf(one, lower=1)
    factor = np.zeros((len(one), rank))
    factor[pivots - 1] = np.tril(packed)[:, :rank]
    return _sum_of_roots(factor.T @ other @ factor)


def _sum_of_roots(matrix: np.ndarray) -> float:
    """Of the eigenvalues of a matrix that is symmetric and has none below zero but by rounding."""
    if not np.isfinite(matrix).all():
        raise ValueError("features are not finite")
    return float(np.sqrt(np.clip(eigvalsh(matrix), 0, None)).sum())


def _finite(distance: float) -> float:
    if not np.isfinite(distance):
        raise ValueError("features are not finite")
    return max(float(distance), 0.0)
