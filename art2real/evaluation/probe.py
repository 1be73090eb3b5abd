"""How well a straight cut through feature space tells a set of images from photos.

Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2017. The accuracy is
that on images that the classifier did not see, and balanced, so that sets of any size compare: 0.5 is chance,
1 that every image gives its set away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from art2real.core.proportions import wilson

REPEATS, FOLDS = 5, 5

# Of 95 %, in standard deviations.
_Z = 1.96


@dataclass(frozen=True)
class Probe:
    """Accuracy of a linear probe on images that it was not fitted to."""

    accuracy: float
    """Mean of the shares of both sets that are told right, over all repeats; 0.5 is chance."""
    deviation: float
    """Standard deviation of the accuracy over the repeats: what the choice of the folds does."""
    low: float
    """95 % interval, see `linear_probe`."""
    high: float
    folds: int
    repeats: int


def linear_probe(
    first: np.ndarray, second: np.ndarray, *, seed: int, folds: int = FOLDS, repeats: int = REPEATS
) -> Probe:
    """Fits logistic regression to all folds but one, which it is then judged on, and each fold in its turn.

    Features are standardised by what the folds that it is fitted to hold, and both sets weigh the same. The
    strength of the regularisation is scikit-learn's own (C = 1): in features as wide as these hardly any of
    it does best, and none is chosen by a look at the images that it is judged on.

    The interval has two parts, whose squares add up. The first is what so few images say of all: Wilson's
    interval for the share of either set that is told right, joined by Newcombe's rule ("Interval estimation
    for the difference between independent proportions", 1998, method 10). The second, 1.96 times `deviation`,
    stands for the folds, whose classifiers are not independent. Without it, of sets of 10 to 150 made images,
    88 to 96 % of intervals held the true accuracy; with it 95 to 99 %.

    Args:
        first: features `[N, D]` of the photos.
        second: features `[M, D]` of the set.
        seed: of the folds.
        folds: parts of the images; as many as the smaller set has images, if these are fewer.
        repeats: how often folds are drawn anew, two at least.

    Raises:
        ValueError: a set has fewer than two images.
    """
    smaller = min(len(first), len(second))
    if smaller < 2:
        raise ValueError(f"a probe needs two images of each set at least, got {len(first)} and {len(second)}")
    folds = min(folds, smaller)
    rows = np.concatenate([first, second]).astype(np.float64)
    is_second = np.arange(len(rows)) >= len(first)
    states = np.random.default_rng(seed).integers(2**31, size=repeats)
    told = np.array([_told(rows, is_second, folds, int(state)) for state in states])  # [repeats, rows]
    right = told == is_second
    shares = np.stack([right[:, ~is_second].mean(1), right[:, is_second].mean(1)])  # [2, repeats]
    accuracies = shares.mean(0)
    accuracy, deviation = float(accuracies.mean()), float(accuracies.std(ddof=1))
    low, high = _interval(shares.mean(1), np.array([len(first), len(second)]), _Z * deviation)
    return Probe(accuracy, deviation, low, high, folds, repeats)


def _told(rows: np.ndarray, is_second: np.ndarray, folds: int, state: int) -> np.ndarray:
    """For each row whether a probe that has not seen it takes it for one of the second set, bool `[rows]`."""
    # It takes a second to import.
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    probe = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
    parts = StratifiedKFold(folds, shuffle=True, random_state=state)
    with threadpool_limits(1):  # the products are so small that several threads wait for each other
        return np.asarray(cross_val_predict(probe, rows, is_second, cv=parts))


def _interval(shares: np.ndarray, counts: np.ndarray, more: float) -> tuple[float, float]:
    """Around the mean of two independent shares of `counts` trials; `more`: half width that comes on top."""
    lows, highs = wilson(shares, counts, _Z)
    below = np.linalg.norm((shares - lows) / 2)
    above = np.linalg.norm((highs - shares) / 2)
    mean = shares.mean()
    low, high = mean - np.hypot(below, more), mean + np.hypot(above, more)
    return max(float(low), 0.0), min(float(high), 1.0)
