"""How far one set of images is from photos, in the features of one network."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from art2real.core.frechet import bootstrap, frechet_of_features
from art2real.evaluation.permutation import Discrepancy, permutation_test
from art2real.evaluation.probe import Probe, linear_probe

HALVES = "photos, one half against the other"
"""The row that tells what no shift looks like."""

_RESAMPLES = 50  # behind an interval of the Fréchet distance
_DRAWS = 10  # of as many images of each set


@dataclass(frozen=True)
class Shift:
    """How far a set is from the photos; of each figure but the accuracy less is nearer, and of that 0.5."""

    set: str
    images: int
    photos: int
    """That it was compared with."""
    dimensions: int
    frechet: float
    frechet_low: float
    """95 % interval, see `art2real.core.frechet.Spread.interval`."""
    frechet_high: float
    frechet_matched: float
    """The mean distance of as many random images of all sets and photos, so that rows compare."""
    frechet_matched_deviation: float
    """Over the draws of these images."""
    images_matched: int
    mmd: Discrepancy
    probe: Probe

    @property
    def too_few(self) -> bool:
        """Whether a covariance of so many dimensions cannot be told from these images."""
        return min(self.images, self.photos) <= self.dimensions

    def to_dict(self) -> dict[str, Any]:
        """Flat, for a line of a table."""
        figures = {name: value for name, value in asdict(self).items() if name not in ("mmd", "probe")}
        return {
            **figures,
            "too_few_images": self.too_few,
            "mmd_squared": self.mmd.squared,
            "mmd_p": self.mmd.p,
            **{f"probe_{name}": value for name, value in asdict(self.probe).items()},
        }


@dataclass(frozen=True)
class Ruler:
    """What all sets of one network are measured with, so that their figures compare."""

    photos: np.ndarray
    """Features `[N, D]`."""
    bandwidth: float
    """Of the kernel."""
    matched: int
    """Images of each set for the distance that compares; at most half of the photos, and of each set all."""
    seed: int

    def shift(self, name: str, images: np.ndarray) -> Shift:
        """The figures of a set's features, `[M, D]`."""
        rng = np.random.default_rng(self.seed)
        pairs = [(self._draw(self.photos, rng), self._draw(images, rng)) for _ in range(_DRAWS)]
        return self._figures(name, self.photos, images, [frechet_of_features(*pair) for pair in pairs])

    def halves(self) -> Shift:
        """The figures of photos against other photos."""
        rng = np.random.default_rng(self.seed)
        orders = [rng.permutation(len(self.photos)) for _ in range(_DRAWS)]
        matched = [
            frechet_of_features(self.photos[order[: self.matched]], self.photos[order[-self.matched :]])
            for order in orders
        ]
        one, other = (self.photos[np.sort(part)] for part in np.array_split(orders[0], 2))
        return self._figures(HALVES, one, other, matched)

    def _draw(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rows[rng.choice(len(rows), self.matched, replace=False)]

    def _figures(self, name: str, photos: np.ndarray, images: np.ndarray, matched: list[float]) -> Shift:
        distance = frechet_of_features(photos, images)
        low, high = bootstrap(photos, images, resamples=_RESAMPLES, seed=self.seed).interval(distance)
        return Shift(
            set=name,
            images=len(images),
            photos=len(photos),
            dimensions=photos.shape[1],
            frechet=distance,
            frechet_low=low,
            frechet_high=high,
            frechet_matched=float(np.mean(matched)),
            frechet_matched_deviation=float(np.std(matched, ddof=1)),
            images_matched=self.matched,
            mmd=permutation_test(photos, images, self.bandwidth, seed=self.seed),
            probe=linear_probe(photos, images, seed=self.seed),
        )
