"""Intervals of shares whose answers are not independent: of the same participant, and of the same image.

One participant's answers lean the same way, and so do all answers about one image; an interval that takes
them for independent is too narrow. Participants and images are crossed, so neither can be averaged over.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from art2real.core.proportions import wilson


@dataclass(frozen=True)
class Interval:
    """95 %, of a share in [0, 1] or of a difference of two in [-1, 1]."""

    low: float
    high: float


def share_interval(chosen: np.ndarray, *clusterings: np.ndarray) -> Interval | None:
    """Of the mean of answers, for participants and images like these.

    Wilson's interval with as many independent answers as these are worth: N times the variance of independent
    answers by that of `clustered_variance` (Kott and Carr, "Developing an estimation strategy for a pesticide
    data program", 1997), and the t quantile of the fewest clusters less one. Where all chose the same, the
    answers count as many as the fewest clusters.

    Of 24 kinds of simulated studies (10 to 40 participants, 20 to 100 images, both with leanings of their
    own) 94 to 96 % of 2000 intervals held the truth, of independent answers 97 to 99 %; Wilson's own 49 to
    81 %. The same variance on the logit scale does as well, and says nothing where all chose the same; the
    pigeonhole bootstrap (Owen, "The pigeonhole bootstrap", 2007) is a tenth wider and held 97 %.

    Args:
        chosen: bool `[N]`.
        clusterings: for each kind of cluster (participants, images) the identities `[N]`.

    Returns:
        None where there is one participant or image only, from which nothing follows for others.
    """
    fewest = _fewest(clusterings)
    if fewest < 2:
        return None
    share, count = float(np.mean(chosen)), len(chosen)
    worth = float(fewest)
    if 0 < share < 1:
        independent = share * (1 - share) / count
        variance = clustered_variance((chosen - share) / count, *clusterings)
        worth = count * independent / max(variance, independent)
    low, high = wilson(share, worth, _quantile(fewest))
    return Interval(float(low), float(high))


def difference_interval(
    chosen: np.ndarray, of_second: np.ndarray, *clusterings: np.ndarray
) -> Interval | None:
    """Of the share of the first group's answers less that of the second's, which may be of the same people.

    The difference plus and minus the t quantile times the root of `clustered_variance`. Where all answers of
    a group are the same, so that it does not vary, both groups' `share_interval` are joined (Newcombe,
    "Interval estimation for the difference between independent proportions", 1998, method 10).

    Args:
        chosen: bool `[N]`.
        of_second: bool `[N]`: whether an answer is of the second group; both have one at least.
        clusterings: as in `share_interval`, which says when there is None.
    """
    fewest = _fewest(clusterings)
    if fewest < 2:
        return None
    shares = np.array([chosen[~of_second].mean(), chosen[of_second].mean()])
    difference = float(shares[0] - shares[1])
    if shares.min() == 0 or shares.max() == 1:
        one, other = (
            share_interval(chosen[of], *(each[of] for each in clusterings)) for of in (~of_second, of_second)
        )
        if one is None or other is None:
            return None
        below = np.hypot(shares[0] - one.low, other.high - shares[1])
        above = np.hypot(one.high - shares[0], shares[1] - other.low)
        return Interval(max(difference - float(below), -1.0), min(difference + float(above), 1.0))
    counts = np.array([(~of_second).sum(), of_second.sum()])
    group = of_second.astype(int)
    influence = np.where(of_second, -1, 1) * (chosen - shares[group]) / counts[group]
    half = _quantile(fewest) * clustered_variance(influence, *clusterings) ** 0.5
    return Interval(max(difference - half, -1.0), min(difference + half, 1.0))


def clustered_variance(influence: np.ndarray, *clusterings: np.ndarray) -> float:
    """Variance of the sum of what each answer adds to an estimate, `[N]`, whose mean is zero.

    Cameron, Gelbach and Miller, "Robust inference with multiway clustering", 2011, section 2.3: that over
    participants, plus that over images, less that over their pairs, which both have counted, and so on for
    more kinds; each with the factor G / (G - 1) of its number G of clusters. The sum may come out too small,
    or below zero, where clusters are few: then the greatest of the single kinds stands.
    """
    labels = [np.unique(each, return_inverse=True)[1] for each in clusterings]
    single = [_within(influence, each) for each in labels]
    total: float = sum(single)
    for many in range(2, len(labels) + 1):
        for some in combinations(labels, many):
            joined = some[0]
            for each in some[1:]:
                joined = np.unique(joined * (each.max() + 1) + each, return_inverse=True)[1]
            total += _within(influence, joined) * (-1) ** (many - 1)
    return max(total, *single)


def _within(influence: np.ndarray, labels: np.ndarray) -> float:
    count = int(labels.max()) + 1
    sums = np.bincount(labels, influence)
    return float(np.square(sums).sum() * count / max(count - 1, 1))


def _fewest(clusterings: tuple[np.ndarray, ...]) -> int:
    return min(len(np.unique(each)) for each in clusterings)


def _quantile(clusters: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, clusters - 1))
