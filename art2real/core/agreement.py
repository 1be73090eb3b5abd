"""How far raters agree beyond chance: Krippendorff's alpha of nominal values.

Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, section C: any number of raters, not all of
whom need to have judged everything.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """Of raters on items that two or more of them judged."""

    alpha: float | None
    """1: all agree; 0: as chance would have it; below: less than that. None: all values are the same, or no
    item was judged twice, so that there is nothing to agree about."""
    low: float | None
    """95 % bootstrap interval of alpha."""
    high: float | None
    same: float | None
    """How often two raters of an item say the same, in [0, 1], mean over items."""
    items: int
    """Judged by two or more."""
    answers: int
    """On those items."""


def counts_of(items: Sequence[Hashable], values: Sequence[Hashable]) -> np.ndarray:
    """How often each item was given each value, int `[items, values]`, from one of either for each answer."""
    rows: dict[Hashable, int] = {}
    columns: dict[Hashable, int] = {}
    where = [
        (rows.setdefault(item, len(rows)), columns.setdefault(value, len(columns)))
        for item, value in zip(items, values, strict=True)
    ]
    counts = np.zeros((len(rows), len(columns)), np.int64)
    for place in where:
        counts[place] += 1
    return counts


def alpha_of(counts: np.ndarray) -> float:
    """Krippendorff's alpha of counts `[items, values]`; NaN where it is not defined."""
    return float(_alphas(counts, np.ones((1, len(counts))))[0])


def agreement(counts: np.ndarray, *, seed: int, resamples: int = 2000) -> Agreement:
    """Alpha with a percentile bootstrap interval over items, whose raters stay together.

    Args:
        counts: int `[items, values]`, see `counts_of`.
        seed: of the resamples.
        resamples: how often items are drawn anew, with replacement.
    """
    counts = counts[counts.sum(1) >= 2]
    many = counts.sum(1)
    if not len(counts):
        return Agreement(None, None, None, None, 0, 0)
    same = float(((counts * (counts - 1)).sum(1) / (many * (many - 1))).mean())
    alpha = alpha_of(counts)
    drawn = np.random.default_rng(seed).multinomial(
        len(counts), np.full(len(counts), 1 / len(counts)), resamples
    )
    alphas = _alphas(counts, drawn)
    alphas = alphas[np.isfinite(alphas)]
    if np.isnan(alpha) or len(counts) < 2:
        return Agreement(None if np.isnan(alpha) else alpha, None, None, same, len(counts), int(many.sum()))
    low, high = np.quantile(alphas, [0.025, 0.975])
    return Agreement(alpha, float(low), float(high), same, len(counts), int(many.sum()))


def _alphas(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Alpha for each row of `weights` `[B, items]`: how often each item counts."""
    counts = np.asarray(counts, np.float64)
    many = counts.sum(1)
    paired = many >= 2  # an item that one rater judged says nothing of agreement
    counts, many, weights = counts[paired], many[paired], weights[:, paired]
    differing = weights @ ((many**2 - np.square(counts).sum(1)) / (many - 1))
    totals = weights @ counts
    answers = totals.sum(1)
    expected = answers**2 - np.square(totals).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 1 - (answers - 1) * differing / expected, np.nan)
