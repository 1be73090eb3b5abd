"""Shares of choices: Wilson's interval and the exact binomial test."""

from __future__ import annotations

from typing import Any

import numpy as np

Z95 = 1.959963984540054
"""Of 95 %, in standard deviations."""


def wilson(share: Any, count: Any, z: float = Z95) -> tuple[np.ndarray, np.ndarray]:
    """Low and high end of the score interval of a share of independent trials.

    Wilson, "Probable inference, the law of succession, and statistical inference", 1927. Unlike the share
    plus and minus deviations it stays within [0, 1] and is right for few trials.

    Args:
        share: in [0, 1]; a number or an array.
        count: trials, above 0, not necessarily whole (a number of trials that are worth as much); broadcasts
            with `share`.
        z: half width in standard deviations.
    """
    share, spread = np.asarray(share, np.float64), z**2 / np.asarray(count, np.float64)
    centre = (share + spread / 2) / (1 + spread)
    half = np.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)


def binomial_p(chosen: int, count: int, share: float = 0.5) -> float:
    """The exact two-sided p-value of `chosen` of `count` independent trials that each have chance `share`."""
    from scipy.stats import binomtest

    return float(binomtest(chosen, count, share).pvalue)
