"""The published table: how often a system was chosen, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from art2real.core.proportions import binomial_p, wilson
from art2real.core.sign_flip import sign_flip_p
from art2real.study.clustered import Interval, difference_interval, share_interval
from art2real.study.design import REAL, Design
from art2real.study.judgements import Judgement

FEW = 10
"""Below so many participants, or images, a row says that they are few."""


@dataclass(frozen=True)
class Share:
    """How often something was chosen where it could have been: a row of the table."""

    name: str
    """The system; in real-vs-generated, what was taken for the real photo."""
    against: str
    """The other system; `real`; or the empty word: all others."""
    size: int | None
    """Pixels; None: all sizes."""
    chosen: int
    answers: int
    participants: int
    images: int
    """Paintings that the pictures are of."""
    photos: int
    """Real photos beside them; 0 where none are shown."""
    share: float
    """In [0, 1]: chosen / answers."""
    wilson: Interval
    """95 %, as if all answers were independent of each other."""
    interval: Interval | None
    """95 %, see `share_interval`; None where there is one participant or image only."""
    binomial_p: float
    """Exact two-sided test against one half, as if all answers were independent."""
    participants_p: float
    """Sign-flip test against one half of the participants' own shares. Participants are independent of each
    other; it speaks of people like these and of these images, not of others."""

    @property
    def few(self) -> tuple[str, ...]:
        """What is so few that the intervals are rough, in words."""
        counts = {"participant": self.participants, "image": self.images}
        if self.photos:
            counts["photo"] = self.photos
        return tuple(
            f"{count} {noun}{'s' * (count != 1)} only" for noun, count in counts.items() if count < FEW
        )


@dataclass(frozen=True)
class Difference:
    """How much more often one system than another was taken for the real photo."""

    first: str
    second: str
    size: int | None
    participants: int
    """Who judged both."""
    difference: float
    """In [-1, 1]: the first's share less the second's."""
    interval: Interval | None
    participants_p: float | None
    """Sign-flip test of the differences within participants who judged both; None: nobody did."""


def shares(design: Design, found: Sequence[Judgement]) -> tuple[Share, ...]:
    """The rows of the table; those without a single answer are left out.

    Two systems have a row each. More have one each against all others, and then one for each pair. Generated
    pictures against photos have a row for each system and size, after one for all sizes of the system.
    """
    rows: list[tuple[str, str, int | None]]
    if design.kind == "real-vs-generated":
        rows = [(name, REAL, size) for name in design.systems for size in _sizes(design)]
    else:
        rows = [(one, other, None) for one, other in combinations(design.systems, 2)]
        if len(rows) == 1:
            rows += [(other, one, None) for one, other, _ in rows]
        else:
            rows = [(name, "", None) for name in design.systems] + rows
    made = []
    for name, against, size in rows:
        mine = about(found, name, against, size)
        hits = [each.chosen == name for each in mine]
        made.append(measured(hits, mine, name=name, against=against, size=size, seed=design.seed))
    return tuple(each for each in made if each is not None)


def measured(
    hits: Sequence[bool],
    found: Sequence[Judgement],
    *,
    name: str,
    against: str,
    size: int | None = None,
    seed: int,
) -> Share | None:
    """The share of answers with a hit, as a row; None if there are no answers."""
    if not found:
        return None
    chosen, (participants, images, *photos) = np.array(hits), _clusters(found)
    share = float(chosen.mean())
    low, high = wilson(share, len(chosen))
    return Share(
        name=name,
        against=against,
        size=size,
        chosen=int(chosen.sum()),
        answers=len(chosen),
        participants=len(np.unique(participants)),
        images=len(np.unique(images)),
        photos=len(np.unique(photos[0])) if photos else 0,
        share=share,
        wilson=Interval(float(low), float(high)),
        interval=share_interval(chosen, participants, images, *photos),
        binomial_p=binomial_p(int(chosen.sum()), len(chosen)),
        participants_p=sign_flip_p(_means(chosen, participants)[1] - 0.5, seed=seed),
    )


def differences(design: Design, found: Sequence[Judgement]) -> tuple[Difference, ...]:
    """Between each pair of systems, at all sizes and at each; those without answers to both are left out."""
    if design.kind != "real-vs-generated":
        return ()
    made = [
        _difference(
            about(found, first, REAL, size),
            about(found, second, REAL, size),
            first,
            second,
            size,
            design.seed,
        )
        for first, second in combinations(design.systems, 2)
        for size in _sizes(design)
    ]
    return tuple(each for each in made if each is not None)


def _difference(
    of_first: list[Judgement],
    of_second: list[Judgement],
    first: str,
    second: str,
    size: int | None,
    seed: int,
) -> Difference | None:
    if not of_first or not of_second:
        return None
    chosen = np.array([each.chosen != REAL for each in (*of_first, *of_second)])
    participants, *images = _clusters([*of_first, *of_second])
    in_second = np.arange(len(chosen)) >= len(of_first)
    who, means = _means(chosen[~in_second], participants[~in_second])
    others, other_means = _means(chosen[in_second], participants[in_second])
    both, at, other_at = np.intersect1d(who, others, return_indices=True)
    return Difference(
        first=first,
        second=second,
        size=size,
        participants=len(both),
        difference=float(chosen[~in_second].mean() - chosen[in_second].mean()),
        interval=difference_interval(chosen, in_second, participants, *images),
        participants_p=sign_flip_p(means[at] - other_means[other_at], seed=seed) if len(both) else None,
    )


def _sizes(design: Design) -> list[int | None]:
    return [None, *design.sizes] if len(design.sizes) > 1 else [*design.sizes]


def about(found: Sequence[Judgement], name: str, against: str, size: int | None) -> list[Judgement]:
    """Those answers in which one could choose between `name` and `against`, see `Share`, at that size."""
    return [
        each
        for each in found
        if (name in (each.chosen, each.other))
        and (not against or against in (each.chosen, each.other))
        and size in (None, each.size)
    ]


def _clusters(found: Sequence[Judgement]) -> list[np.ndarray]:
    """Of each answer what others share with it: the participant, the painting, the photo if there is one."""
    kinds: list[list[Any]] = [[each.participant for each in found], [each.item for each in found]]
    if found[0].photo:
        kinds.append([each.photo for each in found])
    return [np.unique(np.array(each), return_inverse=True)[1] for each in kinds]


def _means(chosen: np.ndarray, participants: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Who, and the share of each one's answers."""
    who, place = np.unique(participants, return_inverse=True)
    return who, np.bincount(place, chosen) / np.bincount(place)
