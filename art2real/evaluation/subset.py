"""A random part of a folder of images, as a folder of links."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def random_subset(folder: Path, names: Sequence[str], count: int, *, seed: int, at: Path) -> Path:
    """Links to `count` of a folder's images, in a folder of their own.

    The same places of the list are drawn from every list of this length: of paintings and their translations,
    which have the same names, the same pictures.

    Args:
        folder: where the images lie.
        names: their relative paths, sorted.
        count: of the images to draw.
        seed: of the draw.
        at: the folder to make; it must not be there.

    Returns:
        `at`, or `folder` itself if it has no more images than `count`.

    Raises:
        OSError: the links cannot be made.
    """
    if len(names) <= count:
        return folder
    drawn = np.random.default_rng(seed).choice(len(names), count, replace=False)
    at.mkdir(parents=True)
    for number in sorted(drawn):
        link = at / names[number]
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((folder / names[number]).resolve())
    return at
