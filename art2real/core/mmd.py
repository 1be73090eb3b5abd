"""Maximum mean discrepancy between two sets of features: how far apart a kernel sees them.

Gretton et al., "A kernel two-sample test", 2012, equation 3: the unbiased estimate of the squared
discrepancy, which may fall below zero when the sets are alike.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]

# Rows of which pairwise values are held at a time.
_BLOCK = 2048
# Rows from which the median distance is taken: it is a scale, not a result.
_MEDIAN_ROWS = 1000


def polynomial_mmd(first: np.ndarray, second: np.ndarray) -> float:
    """The unbiased estimate with the kernel (x·y / D + 1)^3, of `[N, D]` and `[M, D]`, N and M two at least.

    Bińkowski et al., "Demystifying MMD GANs", 2018, section 4.
    """
    return mmd_squared(first, second, lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3)


def gaussian_kernel(first: np.ndarray, second: np.ndarray, bandwidth: float) -> np.ndarray:
    """exp(-|x - y|^2 / (2 b^2)) of all pairs: `[N, D]`, `[M, D]` -> `[N, M]`, b greater than zero."""
    return np.exp(-_squared_distances(first, second) / (2 * bandwidth**2))


def median_distance(rows: np.ndarray) -> float:
    """The median distance between rows `[N, D]`, the usual bandwidth; of a thousand, evenly spread."""
    some = np.asarray(rows[:: -(-len(rows) // _MEDIAN_ROWS)], np.float64)
    pairs = np.triu_indices(len(some), 1)
    median = float(np.sqrt(np.median(_squared_distances(some, some)[pairs]))) if len(some) > 1 else 0.0
    return median or 1.0  # rows that are all the same have no scale


def kernel_distance(
    first: np.ndarray, second: np.ndarray, *, subsets: int, subset_size: int, seed: int
) -> tuple[float, float]:
    """KID: mean and standard deviation of `polynomial_mmd` over random subsets of both sets.

    Bińkowski et al., "Demystifying MMD GANs", 2018, section 4; the published figures have 100 subsets of
    1000.

    Args:
        first, second: features `[N, D]`, `[M, D]`.
        subsets: how many, two at least.
        subset_size: rows of each, from two to the smaller set.
        seed: of the subsets.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(subsets):
        one, other = (rows[rng.choice(len(rows), subset_size, replace=False)] for rows in (first, second))
        found.append(polynomial_mmd(one, other))
    return float(np.mean(found)), float(np.std(found, ddof=1))


def mmd_squared(first: np.ndarray, second: np.ndarray, kernel: Kernel) -> float:
    """The unbiased estimate with any kernel of pairs, `[N, D]`, `[M, D]` -> `[N, M]`."""
    one, other = (np.asarray(rows, np.float64) for rows in (first, second))
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1]:
        raise ValueError(f"features must be [N, D] and [M, D], got {list(one.shape)}, {list(other.shape)}")
    if min(len(one), len(other)) < 2:
        raise ValueError(f"the discrepancy needs two rows at least, got {len(one)} and {len(other)}")
    within = sum(_mean_of_others(rows, kernel) for rows in (one, other))
    between = sum(kernel(block, other).sum() for block in _blocks(one)) / (len(one) * len(other))
    return float(within - 2 * between)


def _mean_of_others(rows: np.ndarray, kernel: Kernel) -> float:
    """The mean over all pairs of different rows."""
    whole = sum(kernel(block, rows).sum() for block in _blocks(rows))
    own = sum(np.trace(kernel(block, block)) for block in _blocks(rows))
    return (whole - own) / (len(rows) * (len(rows) - 1))


def _blocks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[at : at + _BLOCK] for at in range(0, len(rows), _BLOCK)]


def _squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    one, other = (np.asarray(rows, np.float64) for rows in (first, second))
    products = np.square(one).sum(1)[:, None] + np.square(other).sum(1)[None] - 2 * one @ other.T
    return np.clip(products, 0, None)
