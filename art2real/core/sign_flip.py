"""Whether numbers lie about zero: the sign-flip test, which assumes no distribution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MOST_EXACT = 20
"""Up to so many numbers all 2^n signs are tried."""
# Of two sums that are the same but for rounding.
_SLACK = 1e-9


def sign_flip_p(numbers: Sequence[float] | np.ndarray, *, seed: int, draws: int = 20_000) -> float:
    """The two-sided p-value of the mean of numbers that would be as likely with the other sign.

    Fisher, "The Design of Experiments", 1935, section 21: the share of assignments of signs whose sum is as
    far from zero as the true one's. Of more than `MOST_EXACT` numbers other than zero, `draws` random
    assignments stand for all; the true one counts as one of them (Phipson and Smyth, "Permutation p-values
    should never be zero", 2010).

    Args:
        numbers: independent of each other; none gives 1.
        seed: of the random assignments.
        draws: how many.
    """
    values = np.asarray(numbers, np.float64)
    values = values[values != 0]  # zero has no sign, and would only double the assignments
    truth = abs(values.sum()) - _SLACK
    if len(values) > MOST_EXACT:
        signs = np.random.default_rng(seed).integers(0, 2, (draws, len(values)), np.int8) * 2 - 1
        return (1 + int((np.abs(signs @ values) >= truth).sum())) / (1 + draws)
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return float((np.abs(sums) >= truth).mean())
