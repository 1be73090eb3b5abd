"""Whether two sets of features differ by more than chance: the permutation test of their discrepancy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from art2real.core.mmd import gaussian_kernel

# Rows of which pairwise values are held at a time.
_BLOCK = 1024


@dataclass(frozen=True)
class Discrepancy:
    """Squared maximum mean discrepancy of two sets."""

    squared: float
    """As `art2real.core.mmd.mmd_squared`: unbiased, below zero now and then where the sets are alike."""
    p: float
    """Share of random divisions of all rows that are as far apart; never below 1 / (permutations + 1)."""
    permutations: int


def permutation_test(
    first: np.ndarray, second: np.ndarray, bandwidth: float, *, seed: int, permutations: int = 200
) -> Discrepancy:
    """The discrepancy with a Gaussian kernel, and how often chance alone makes it as great.

    Gretton et al., "A kernel two-sample test", 2012, equation 3; the share counts the true division as one of
    the random ones (Phipson and Smyth, "Permutation p-values should never be zero", 2010).

    Args:
        first, second: features `[N, D]`, `[M, D]`, two rows each at least.
        bandwidth: of the kernel, in the unit of the features.
        seed: of the divisions.
        permutations: how many.
    """
    count, others = len(first), len(second)
    if min(count, others) < 2:
        raise ValueError(f"the discrepancy needs two rows at least, got {count} and {others}")
    rows = np.concatenate([first, second]).astype(np.float64)
    truth = (np.arange(len(rows)) < count).astype(np.float64)
    rng = np.random.default_rng(seed)
    # A column for each division, the true one first: 1 where a row is of the first set.
    member = np.stack([truth, *(rng.permutation(truth) for _ in range(permutations))], axis=1)
    inside, touching, everything, own = np.zeros(permutations + 1), np.zeros(permutations + 1), 0.0, 0.0
    for at in range(0, len(rows), _BLOCK):
        kernel = gaussian_kernel(rows[at : at + _BLOCK], rows, bandwidth)
        inside += (member[at : at + _BLOCK] * (kernel @ member)).sum(0)
        touching += kernel.sum(1) @ member[at : at + _BLOCK]
        everything += kernel.sum()
        own += np.trace(kernel, at)
    own /= len(rows)  # a row with itself: 1 but for rounding
    between = touching - inside
    outside = everything - inside - 2 * between
    squared = (
        (inside / count - own) / (count - 1)
        + (outside / others - own) / (others - 1)
        - 2 * between / (count * others)
    )
    as_far = int((squared[1:] >= squared[0]).sum())
    return Discrepancy(float(squared[0]), (1 + as_far) / (1 + permutations), permutations)
