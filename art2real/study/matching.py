"""Which images of several folders belong together, by their names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from art2real.data.corpus import printable


@dataclass(frozen=True)
class Matched:
    """One image of each folder."""

    item: str
    """The path in the first folder without its suffix."""
    files: Mapping[str, str]
    """By the folder's name, the relative path of its image."""


def match_names(folders: Mapping[str, Sequence[str]]) -> tuple[list[Matched], list[str]]:
    """Matches images by their paths without suffix and, of what is left, by their bare names.

    Args:
        folders: by its name, the relative POSIX paths of each folder's images.

    Returns:
        The images that are there once in every folder, and in words those that are left out.
    """
    left = {folder: dict.fromkeys(names) for folder, names in folders.items()}
    found = [*_take(left, lambda name: str(PurePosixPath(name).with_suffix("")))]
    found += _take(left, lambda name: PurePosixPath(name).stem)
    # By now the rest has no partner, or several.
    stems = {folder: Counter(PurePosixPath(name).stem for name in names) for folder, names in left.items()}
    reasons = [
        f"{folder}: {printable(name)}: {_reason(PurePosixPath(name).stem, stems)}"
        for folder, names in left.items()
        for name in names
    ]
    return sorted(found, key=lambda each: each.item), reasons


def _take(left: Mapping[str, dict[str, None]], key: Callable[[str], str]) -> Iterable[Matched]:
    """Takes out of `left` what one image of each folder has the key of."""
    tables = {folder: _by_key(names, key) for folder, names in left.items()}
    first, *others = tables
    for common, names in tables[first].items():
        groups = {first: names, **{folder: tables[folder].get(common, []) for folder in others}}
        if all(len(group) == 1 for group in groups.values()):
            files = {folder: group[0] for folder, group in groups.items()}
            for folder, name in files.items():
                del left[folder][name]
            yield Matched(printable(str(PurePosixPath(files[first]).with_suffix(""))), files)


def _by_key(names: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    table = defaultdict(list)
    for name in names:
        table[key(name)].append(name)
    return dict(table)


def _reason(stem: str, stems: Mapping[str, Counter[str]]) -> str:
    missing = [folder for folder, counts in stems.items() if not counts[stem]]
    if missing:
        return f"no image of this name in {missing[0]}"
    folder, count = max(
        ((folder, counts[stem]) for folder, counts in stems.items()), key=lambda each: each[1]
    )
    return f"{count} images of this name in {folder}"
