"""What one participant sees: a pure function of the design and the participant's number.

The judged trials lie in the design in the order of a deck that goes round without end, and participant n gets
its turns n*N to (n + 1)*N - 1, put in an order of his or her own. The deck is made by `deck`: in turn t it
has item (t + t // lcm(I, K)) mod I in combination t mod K, with I items and K combinations of a pair of
systems and a size. So in I*K turns every item comes once in every combination; after any number of turns no
item, pair, size or cell of these was shown twice more often than another. Who sees no more trials than there
are items sees no item twice, but where the deck begins anew and I and K have a common divisor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import lcm
from typing import TypeVar

from art2real.study.design import Design, Picture, Trial

T = TypeVar("T")


@dataclass(frozen=True)
class Shown:
    """A trial as a participant sees it."""

    position: int
    """From 0, practice included."""
    trial: Trial
    left: Picture
    right: Picture
    secret: str
    """What names this position of this participant to the outside: 32 hexadecimal digits."""


def schedule(design: Design, participant: int) -> tuple[Shown, ...]:
    """All trials of a participant in order: practice, then judged trials with attention checks between them.

    Args:
        participant: number from 0.

    Of the judged trials each has a check behind it at most, the last one none. The pictures of a judged trial
    change places from one round of the deck to the next, those of a check from one participant to the next.
    """
    judged = _shuffled(design, f"{participant}/trials", _dealt(design, participant))
    checks = iter(_shuffled(design, f"{participant}/checks", _in_turn(design.checks, participant)))
    gaps = _gaps(design, participant)
    order = list(_in_turn(design.practice, participant))
    for number, each in enumerate(judged, start=1):
        order.append(each)
        if number in gaps:
            order.append(next(checks))
    return tuple(
        Shown(
            position,
            trial,
            left=trial.second if swapped else trial.first,
            right=trial.first if swapped else trial.second,
            secret=_secret(design, participant, position),
        )
        for position, (trial, swapped) in enumerate(order)
    )


def deck(items: int, pairs: int, sizes: int) -> Iterator[tuple[int, int, int]]:
    """Item, pair and size of each turn of one round of the deck: every cell once."""
    combinations = pairs * sizes
    for turn in range(items * combinations):
        combination = turn % combinations
        # The item is moved by one as often as it would meet the same combination again; so is the size.
        item = (turn + turn // lcm(items, combinations)) % items
        size = (combination + combination // lcm(pairs, sizes)) % sizes
        yield item, combination % pairs, size


def shuffled(values: Iterable[T], seed: int, what: str) -> list[T]:
    """The values in an order that is a function of seed and `what`, with every version of every library."""
    keys = ((_hash(f"{seed}/{what}/{number}"), value) for number, value in enumerate(values))
    return [value for _, value in sorted(keys, key=lambda each: each[0])]


def _shuffled(design: Design, what: str, values: Iterable[T]) -> list[T]:
    return shuffled(values, design.seed, what)


def _dealt(design: Design, participant: int) -> Iterator[tuple[Trial, bool]]:
    """The participant's judged trials, and whether their pictures change places."""
    pool = design.judged
    for turn in range(participant * design.trials_each, (participant + 1) * design.trials_each):
        rounds, index = divmod(turn, len(pool))
        # Every other time in each combination, and the other way round in the next round.
        yield pool[index], bool((index // design.combinations + rounds) % 2)


def _in_turn(trials: tuple[Trial, ...], participant: int) -> Iterator[tuple[Trial, bool]]:
    for number, trial in enumerate(trials):
        yield trial, bool((number + participant) % 2)


def _gaps(design: Design, participant: int) -> set[int]:
    """Behind how many judged trials the checks come: one in each of as many equal parts, drawn there."""
    checks, places = len(design.checks), design.trials_each - 1
    gaps = set()
    for number in range(checks):
        begin, end = number * places // checks, (number + 1) * places // checks
        drawn = int.from_bytes(_hash(f"{design.seed}/{participant}/gaps/{number}"), "big")
        gaps.add(1 + begin + drawn % (end - begin))
    return gaps


def _secret(design: Design, participant: int, position: int) -> str:
    text = f"{participant}/{position}".encode()
    return hashlib.blake2b(text, key=bytes.fromhex(design.secret), digest_size=16).hexdigest()


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
