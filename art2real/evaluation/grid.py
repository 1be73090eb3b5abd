"""The same images in several sets, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from art2real.data.corpus import list_images
from art2real.data.images import BadImage, decode, square
from art2real.evaluation.sets import ImageSet


@dataclass(frozen=True)
class GridRow:
    """One image, by the names of the sets that have it: uint8 `[S, S, 3]` each."""

    name: str
    pictures: dict[str, np.ndarray]


def grid_rows(sets: Sequence[ImageSet], *, most: int, size: int) -> list[GridRow]:
    """Images that as many sets as possible, two at least, have under one name (without its ending), evenly
    spread over all of these.

    Args:
        sets: of one artist, in the order of the columns.
        most: how many images.
        size: pixels of a picture's side; the middle of the image is shown.
    """
    files = {each.name: _by_stem(each.folder) for each in sets}
    having = Counter(stem for of in files.values() for stem in of)
    most_sets = max(having.values(), default=0)
    if most_sets < 2:
        return []
    # Images that all sets have, where there are such, say most.
    fullest = sorted(stem for stem, count in having.items() if count == most_sets)
    rows = []
    for at in np.unique(np.linspace(0, len(fullest) - 1, min(most, len(fullest))).round().astype(int)):
        stem = fullest[at]
        pictures = {}
        for name, of in files.items():
            if stem in of:
                try:
                    pictures[name] = square(decode(of[stem]), size)
                except BadImage:
                    continue  # it is named with its reason among the set's skipped files
        if len(pictures) > 1:
            rows.append(GridRow(stem, pictures))
    return rows


def _by_stem(folder: Path) -> dict[str, Path]:
    return {str(PurePosixPath(name).with_suffix("")): folder / name for name in list_images(folder)}
