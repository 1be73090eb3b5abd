"""The trials of a study, made from its pictures."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from art2real.study.design import CHECK, REAL, Kind, Picture, Role, Trial, Which
from art2real.study.schedule import deck

Sizes = Mapping[int, Picture]
"""A picture by its side in pixels."""


@dataclass(frozen=True)
class Pictures:
    """Everything that trials are made of."""

    results: Mapping[str, Mapping[str, Sizes]]
    """By item and system."""
    paintings: Mapping[str, Sizes]
    """By item; empty where none are shown."""
    photos: Sequence[Sizes]
    """Real ones in the order in which they are used; empty where none are shown."""
    sizes: tuple[int, ...]
    """Sides in pixels; the first is the largest."""

    def painting(self, item: str, size: int) -> Picture | None:
        """What is shown beside an item's results, if anything is."""
        return self.paintings[item][size] if self.paintings else None


def judged_trials(
    kind: Kind, pictures: Pictures, items: Sequence[str], systems: Sequence[str]
) -> list[Trial]:
    """Every item in every pair of systems at every size, once each, in the order of the deck.

    Where photos are one side, each is used as often as any other, or once more.
    """
    against_photos = kind == "real-vs-generated"
    pairs = [(REAL, each) for each in systems] if against_photos else list(combinations(systems, 2))
    trials = []
    for turn, (number, pair, which) in enumerate(deck(len(items), len(pairs), len(pictures.sizes))):
        item, size, (one, other) = items[number], pictures.sizes[which], pairs[pair]
        results = pictures.results[item]
        first = pictures.photos[turn % len(pictures.photos)] if against_photos else results[one]
        trials.append(
            _trial(
                "trial",
                item,
                first[size],
                results[other][size],
                pictures.painting(item, size),
                "first" if against_photos else None,
            )
        )
    return trials


def plain_trials(
    roles: Sequence[Role],
    kind: Kind,
    pictures: Pictures,
    items: Sequence[str],
    systems: Sequence[str],
    spoil: Callable[[Picture], Picture],
) -> list[Trial]:
    """Trials with an answer that nobody who looks can miss, one a role: a picture against a spoiled one.

    Both are at full size. The right one is a real photo in the test against these, else a result, of all
    systems in turn. The spoiled one is of the same item; in a study of coherency, of another painting.
    """
    full, trials = pictures.sizes[0], []
    for number, role in enumerate(roles):
        item, system = items[number % len(items)], systems[number % len(systems)]
        other = items[(number + 1) % len(items)] if kind == "coherency" else item
        # From the end: the judged trials begin with the first.
        right = pictures.photos[-1 - number % len(pictures.photos)] if pictures.photos else None
        first = (right or pictures.results[item][system])[full]
        wrong = spoil(pictures.results[other][systems[(number + 1) % len(systems)]][full])
        trials.append(
            _trial(
                role,
                item,
                first.model_copy(update={"system": CHECK}),
                wrong.model_copy(update={"system": CHECK}),
                pictures.painting(item, full),
                "first",
            )
        )
    return trials


def _trial(
    role: Role, item: str, first: Picture, second: Picture, painting: Picture | None, right: Which | None
) -> Trial:
    return Trial(
        id=secrets.token_hex(8),
        role=role,
        item=item,
        first=first,
        second=second,
        painting=painting,
        size=first.width,
        right=right,
    )
