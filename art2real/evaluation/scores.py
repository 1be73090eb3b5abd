"""How far a set of images is from photos at one level of features, and how sure that is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from art2real.core.frechet import bootstrap, extrapolate, frechet_distance, frechet_of_features
from art2real.core.mmd import kernel_distance
from art2real.errors import UserError
from art2real.evaluation.features import Features

LEAST = 2
"""Images without which there is no covariance, and so no distance."""
# Below this a line through a few images' distances says nothing.
_LEAST_EXTRAPOLATED = 32
_SUBSET = 1000  # of the published kernel distances


@dataclass(frozen=True)
class Measures:
    """How figures are made."""

    resamples: int = 100
    """Bootstrap resamples behind each interval; 0: no intervals."""
    kid_subsets: int = 100
    seed: int = 0
    """Of resamples and subsets."""


@dataclass(frozen=True)
class Score:
    """The figures of a set at one level; lower is nearer to the photos."""

    level: str
    dimensions: int
    images: int
    real_images: int
    fid: float
    fid_low: float | None
    """95 % interval, see `art2real.core.frechet.Spread.interval`."""
    fid_high: float | None
    fd_infinity: float | None
    """The distance extrapolated to sets without end; None: too few images."""
    kid: float
    """Mean over subsets."""
    kid_deviation: float
    kid_subset_size: int

    @property
    def too_few(self) -> bool:
        """Whether a covariance of so many dimensions cannot be told from these images."""
        return min(self.images, self.real_images) <= self.dimensions

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "too_few_images": self.too_few}


def check_enough(name: str, images: int) -> None:
    """Refuses a set that is too small for any distance.

    Raises:
        UserError: fewer images than `LEAST`.
    """
    if images < LEAST:
        raise UserError(
            f"{name}: {images} usable image{'' if images == 1 else 's'}; a distance between sets needs "
            f"{LEAST} at least, and means little below some hundreds"
        )


def score(photos: Features, images: Features, level: str, measures: Measures) -> Score:
    """The figures of a set's images against photos at one level; each set has two images at least."""
    real, made = photos.levels[level], images.levels[level]
    few = min(len(real), len(made))
    # Of few images the rows themselves are the cheaper factor, see `art2real.core.frechet`.
    if few > real.shape[1]:
        fid = frechet_distance(photos.moments(level), images.moments(level))
    else:
        fid = frechet_of_features(real, made)
    low = high = None
    if measures.resamples:
        spread = bootstrap(real, made, resamples=measures.resamples, seed=measures.seed)
        low, high = spread.interval(fid)
    # Subsets as large as the set would all be the same, and show no spread.
    subset = _SUBSET if few > _SUBSET else max(2, few // 2)
    kid, deviation = kernel_distance(
        real, made, subsets=measures.kid_subsets, subset_size=subset, seed=measures.seed
    )
    return Score(
        level=level,
        dimensions=real.shape[1],
        images=len(made),
        real_images=len(real),
        fid=fid,
        fid_low=low,
        fid_high=high,
        fd_infinity=extrapolate(real, made, seed=measures.seed) if few >= _LEAST_EXTRAPOLATED else None,
        kid=kid,
        kid_deviation=deviation,
        kid_subset_size=subset,
    )
