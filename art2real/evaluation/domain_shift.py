"""How far sets of images are from photos, as networks see them that were trained on photos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from art2real.core.mmd import median_distance
from art2real.errors import UserError
from art2real.evaluation.embedding import Components, Neighbourhoods, principal_components, tsne
from art2real.evaluation.features import Features
from art2real.evaluation.shift import Ruler, Shift
from art2real.evaluation.weights import Weights

LEVELS = {"vgg19": "fc7", "resnet152": "pool5"}
"""The level of each network whose features are compared."""
TITLES = {"vgg19": "VGG-19 fc7", "resnet152": "ResNet-152 pool5"}
PHOTOS = "photos"
LEAST = 10
"""Images without which figures would look as if they said something."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class NetworkShift:
    """All that one network says."""

    weights: Weights
    photos: Features
    sets: tuple[Features, ...]
    rows: tuple[Shift, ...]
    """One for each set."""
    halves: Shift
    bandwidth: float
    """Of the kernel, one for all rows: the median distance between images of all sets together."""
    components: Components
    """Of the photos and then the sets, in one space."""
    neighbourhoods: Neighbourhoods

    @property
    def network(self) -> str:
        return self.weights.network

    @property
    def level(self) -> str:
        return LEVELS[self.network]

    @property
    def dimensions(self) -> int:
        return self.halves.dimensions

    @property
    def title(self) -> str:
        return TITLES[self.network]

    def of_each(self, points: np.ndarray) -> tuple[tuple[str, np.ndarray], ...]:
        """Points of all images, `[N, 2]`, by set: the photos first."""
        groups = (self.photos, *self.sets)
        ends = np.cumsum([len(each.images) for each in groups])
        names = (PHOTOS, *(each.name for each in self.sets))
        return tuple(zip(names, np.split(points, ends[:-1]), strict=True))

    def to_dict(self) -> dict[str, Any]:
        weights = self.weights
        return {
            "network": self.network,
            "level": self.level,
            "dimensions": self.dimensions,
            "weights": {"sha256": weights.sha256, "published": weights.published},
            "rows": [row.to_dict() for row in self.rows],
            "reference": self.halves.to_dict(),
            "mmd_bandwidth": self.bandwidth,
            "mmd_permutations": self.halves.mmd.permutations,
            "pca_explained": [float(share) for share in self.components.explained[:2]],
            "tsne_perplexity": self.neighbourhoods.perplexity,
        }


@dataclass(frozen=True)
class DomainShift:
    """All figures, with what they were made from."""

    networks: tuple[NetworkShift, ...]
    seed: int
    max_images: int | None
    """Images that were drawn from each set at most."""
    versions: Mapping[str, str]

    @property
    def groups(self) -> tuple[Features, ...]:
        """The photos and the sets, as the first network has them."""
        return (self.networks[0].photos, *self.networks[0].sets)

    @property
    def warning(self) -> str:
        """About weights that are not the published ones; empty if all are."""
        others = [each.weights for each in self.networks if not each.weights.published]
        if not others:
            return ""
        named = ", ".join(f"{TITLES[each.network]}: sha256 {each.sha256[:12]}…" for each in others)
        return f"these are NOT the published weights ({named}): no figure here compares with any other table"

    @property
    def notes(self) -> tuple[str, ...]:
        """What else a reader of the figures has to know."""
        found = []
        if any(row.too_few for each in self.networks for row in (*each.rows, each.halves)):
            found.append(
                "† fewer images than dimensions: the Fréchet distance is too great, the more so the fewer "
                f"images; between rows compare that of {self.networks[0].halves.images_matched} images of "
                "each. MMD and probe do not have this bias"
            )
        formats = {each.name: ", ".join(each.settings.get("formats", {})) for each in self.groups}
        if len(set(formats.values())) > 1:
            listed = "; ".join(f"{name}: {kinds}" for name, kinds in formats.items())
            found.append(
                f"the sets were saved in different formats ({listed}): a probe may see the compression "
                "instead of the picture"
            )
        copies = {each.name: len(each.sha256) - len(set(each.sha256)) for each in self.groups}
        if any(copies.values()):
            listed = ", ".join(f"{name}: {count}" for name, count in copies.items() if count)
            found.append(
                f"some images are copies of others of their set ({listed}): a probe is judged on what it has "
                "seen, and intervals are too narrow"
            )
        photos, *sets = self.groups
        for each in sets:
            shared = len(set(photos.sha256) & set(each.sha256))
            if shared:
                found.append(f"{shared} images of {each.name} are among the photos too")
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """For machines; the same for the same images, weights and seed."""
        photos, *sets = self.groups
        return {
            "photos": _described(photos),
            "sets": [{"name": each.name, **_described(each)} for each in sets],
            "networks": [each.to_dict() for each in self.networks],
            "warning": self.warning,
            "notes": list(self.notes),
            "seed": self.seed,
            "max_images": self.max_images,
            "versions": dict(self.versions),
        }


def check_enough(name: str, images: int, place: str) -> None:
    """Refuses a set of a handful of images.

    Raises:
        UserError: it has fewer than `LEAST`.
    """
    if images < LEAST:
        raise UserError(
            f"{name} ({place}): {images} usable images; figures of fewer than {LEAST} would say nothing"
        )


def measure_shift(
    weights: Weights,
    photos: Features,
    sets: Sequence[Features],
    *,
    seed: int,
    on_step: Callable[[], None] = lambda: None,
) -> NetworkShift:
    """All figures of one network.

    Args:
        weights: of the network that made the features.
        photos: their features; the name has to be `PHOTOS`.
        sets: of what is compared with them.
        seed: of everything random: halves, folds, resamples, permutations, t-SNE.
        on_step: called as each of `steps_of(len(sets))` steps is done.

    Raises:
        UserError: a set has too few images.
    """
    level = LEVELS[weights.network]
    for each in (photos, *sets):
        check_enough(each.name, len(each.images), each.place)

    def done(result: Result) -> Result:
        on_step()
        return result

    every = [each.levels[level] for each in (photos, *sets)]
    rows = np.concatenate(every)
    # Of photos against photos there are halves only, so no set may have more.
    matched = min(len(every[0]) // 2, *map(len, every[1:]))
    ruler = Ruler(every[0], median_distance(rows), matched, seed)
    halves = done(ruler.halves())
    shifts = [done(ruler.shift(each.name, features)) for each, features in zip(sets, every[1:], strict=True)]
    components = done(principal_components(rows, seed=seed))
    return NetworkShift(
        weights=weights,
        photos=photos,
        sets=tuple(sets),
        rows=tuple(shifts),
        halves=halves,
        bandwidth=ruler.bandwidth,
        components=components,
        neighbourhoods=done(tsne(components, seed=seed)),
    )


def steps_of(sets: int) -> int:
    """Steps that `measure_shift` has for so many sets."""
    return sets + 3


def _described(of: Features) -> dict[str, Any]:
    return {
        "place": of.place,
        "images": len(of.images),
        "skipped": [{"file": file, "reason": reason} for file, reason in of.skipped],
        "formats": of.settings.get("formats", {}),
        "copies": len(of.sha256) - len(set(of.sha256)),
    }
