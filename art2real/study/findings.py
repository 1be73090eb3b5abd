"""All that a set of answers says: the table, agreement, sides and times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from art2real.core.agreement import Agreement, agreement, counts_of
from art2real.study.design import REAL, Design
from art2real.study.judgements import Judgement
from art2real.study.preferences import Difference, Share, about, differences, measured, shares


@dataclass(frozen=True)
class Group:
    """Answers about the same two systems (or one and photos) at one size, apart from the others."""

    name: str
    against: str
    size: int | None
    """None: of all sizes together, which is one."""
    agreement: Agreement
    """Each trial is an item, the system that was chosen is the value."""
    reaction_ms: tuple[float, float, float]
    """Lower quartile, median and upper quartile of the times to a choice."""


@dataclass(frozen=True)
class Findings:
    """Of those answers that count."""

    shares: tuple[Share, ...]
    differences: tuple[Difference, ...]
    """Between systems, in real-vs-generated only."""
    groups: tuple[Group, ...]
    left: Share
    """How often the left one of the pictures was chosen: one half where sides do not matter to people."""


def findings(design: Design, found: Sequence[Judgement]) -> Findings | None:
    """None if there are no answers."""
    left = measured([each.left for each in found], found, name="left", against="right", seed=design.seed)
    if left is None:
        return None
    return Findings(shares(design, found), differences(design, found), _groups(design, found), left)


def _groups(design: Design, found: Sequence[Judgement]) -> tuple[Group, ...]:
    names: list[tuple[str, str, int | None]]
    if design.kind == "real-vs-generated":
        names = [(name, REAL, size) for name in design.systems for size in design.sizes]
    else:
        names = [(one, other, None) for one, other in combinations(design.systems, 2)]
    chosen = [(name, about(found, *name)) for name in names]
    return tuple(_group(design, name, answers) for name, answers in chosen if answers)


def _group(design: Design, name: tuple[str, str, int | None], answers: Sequence[Judgement]) -> Group:
    counts = counts_of([each.trial for each in answers], [each.chosen for each in answers])
    quartiles = np.quantile([each.reaction_ms for each in answers], [0.25, 0.5, 0.75])
    low, middle, high = (float(each) for each in quartiles)
    return Group(*name, agreement(counts, seed=design.seed), (low, middle, high))
