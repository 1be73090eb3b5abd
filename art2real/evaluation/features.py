"""Features of sets of images: a set is a folder, and its features are computed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from art2real.core.moments import Moments
from art2real.data.corpus import list_images
from art2real.errors import UsageError, UserError
from art2real.evaluation.feature_cache import RESIZE, CacheEntry, content_hash, default_cache
from art2real.evaluation.feature_part import FeaturePart
from art2real.evaluation.feature_task import FILES_PER_TASK, FeatureTask, in_process, look_at
from art2real.evaluation.networks import NETWORKS
from art2real.evaluation.weights import Weights

__all__ = ["Features", "Progress", "TaskDoer", "default_cache", "extract_features"]

Progress = Callable[[int, int], None]
"""Called with files done and files in all."""
TaskDoer = Callable[[Sequence[FeatureTask]], Generator[FeaturePart, None, None]]
"""Does tasks and yields their parts, in any order."""


@dataclass(frozen=True)
class Features:
    """The features of the usable images of a set."""

    name: str
    """What tables call the set."""
    place: str
    """Where its images lie."""
    images: tuple[str, ...]
    """Relative POSIX paths, sorted, in the order of the rows."""
    skipped: tuple[tuple[str, str], ...]
    """Files that cannot be used, as printable paths, each with the reason."""
    levels: dict[str, np.ndarray]
    """By level, float32 `[images, D]`."""
    settings: dict[str, Any]
    """What decided the features; JSON."""
    sha256: tuple[str, ...] = ()
    """Of the images' contents: equal ones are copies."""
    parts: tuple[int, ...] = ()
    """Images of each task, in order."""

    def moments(self, level: str) -> Moments:
        """Sums over all images, part by part: the same to the bit, whoever computed the parts."""
        ends = np.cumsum(self.parts or (len(self.images),))
        pieces = np.split(self.levels[level], ends[:-1])
        return reduce(add, (Moments.of(piece) for piece in pieces))


def extract_features(
    name: str,
    folder: Path,
    weights: Weights,
    *,
    cache: Path,
    batch_size: int = 32,
    do_tasks: TaskDoer = in_process,
    on_progress: Progress | None = None,
) -> Features:
    """The features of all images below a folder, from the cache as far as they are there.

    Args:
        name: what tables call the set.
        folder: its images; those of folders in it are also of the set.
        weights: of the network.
        cache: folder in which features are kept, see `art2real.evaluation.feature_cache`.
        batch_size: images that the network sees at a time; it changes time and memory, and of the features
            the last bits at most.
        do_tasks: does the tasks: in this process, or on a cluster (`art2real.distributed.feature_job`).
        on_progress: called as tasks are done.

    Raises:
        UserError: there is no such folder, it has no image or none that can be used, an image's features are
            not finite, the weights cannot be read, or the cache cannot be written.
    """
    if batch_size < 1:
        raise UsageError(f"a batch needs an image at least, not {batch_size}")
    files = look_at(folder, list_images(folder))
    content_sha256 = content_hash(files)
    tasks = [
        FeatureTask(number, folder, tuple(files[first : first + FILES_PER_TASK]), weights, batch_size)
        for number, first in enumerate(range(0, len(files), FILES_PER_TASK))
    ]
    entry = CacheEntry(cache, weights, content_sha256)
    parts = _all_parts(entry, tasks, do_tasks, on_progress)
    features = _joined(name, folder, parts, _settings(weights, content_sha256))
    if not features.images:
        raise UserError(
            f"{folder}: not one of its {len(files)} images can be used ({_reasons(features.skipped)})"
        )
    entry.finish({"place": features.place, **features.settings, "images": len(features.images)})
    return features


def _all_parts(
    entry: CacheEntry, tasks: list[FeatureTask], do_tasks: TaskDoer, on_progress: Progress | None
) -> list[FeaturePart]:
    """The parts of all tasks, in order; those that are not stored are computed, and stored."""
    sizes = [len(task.files) for task in tasks]
    parts = {task.number: part for task in tasks if (part := entry.read(task)) is not None}

    def tell() -> None:
        if on_progress is not None:
            on_progress(sum(sizes[number] for number in parts), sum(sizes))

    tell()
    missing = [task for task in tasks if task.number not in parts]
    if missing:
        with closing(do_tasks(missing)) as arriving:
            for part in arriving:
                entry.write(part)
                parts[part.number] = part
                tell()
    return [parts[task.number] for task in tasks]


def _joined(name: str, folder: Path, parts: list[FeaturePart], settings: dict[str, Any]) -> Features:
    formats = sum((Counter(part.formats) for part in parts), Counter[str]())
    return Features(
        name=name,
        place=str(folder),
        images=tuple(image for part in parts for image in part.images),
        skipped=tuple(file for part in parts for file in part.skipped),
        levels={level: np.concatenate([part.levels[level] for part in parts]) for level in parts[0].levels},
        settings={**settings, "formats": dict(sorted(formats.items()))},
        sha256=tuple(sha256 for part in parts for sha256 in part.sha256),
        parts=tuple(len(part.images) for part in parts),
    )


def _settings(weights: Weights, content_sha256: str) -> dict[str, Any]:
    network = NETWORKS[weights.network]
    return {
        "network": network.name,
        "weights": weights.path.name,
        "weights_sha256": weights.sha256,
        "published": weights.published,
        "image_size": network.image_size,
        "resize": RESIZE,
        "content_sha256": content_sha256,
    }


def _reasons(skipped: Sequence[tuple[str, str]]) -> str:
    """How often each reason was given, the most frequent three."""
    counted = Counter(reason for _, reason in skipped).most_common()
    words = "; ".join(f"{count}: {reason}" for reason, count in counted[:3])
    return f"{words}; ..." if counted[3:] else words
