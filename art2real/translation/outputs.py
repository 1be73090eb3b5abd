"""The names of results: as the images are called, and never one name for two of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from art2real.translation.inputs import Found


def name_results(images: Sequence[Found], suffix: str) -> list[PurePosixPath]:
    """Relative paths of the results, one an image.

    Images of a folder keep their place below it. Where two images would get one file, all of that name keep
    the name of their folder as well, and where that does not tell them apart, a number is added.

    Args:
        images: each image once.
        suffix: of the results' format, with its dot.
    """
    names = [image.place.with_suffix(suffix) for image in images]
    times = Counter(names)
    taken: set[PurePosixPath] = set()
    next_number: Counter[PurePosixPath] = Counter()
    results = []
    for image, name in zip(images, names, strict=True):
        wanted = image.folder / name if times[name] > 1 and image.folder else name
        unique = wanted
        while unique in taken:
            next_number[wanted] += 1
            unique = wanted.with_stem(f"{wanted.stem}-{next_number[wanted] + 1}")
        taken.add(unique)
        results.append(unique)
    return results
