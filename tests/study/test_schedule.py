"""What participants see: balanced over any number of them, and the same whenever it is asked for."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from art2real.study.design import Design, Trial
from art2real.study.schedule import deck, schedule, shuffled
from tests.study.simulated import made_design

NAMES = ("A", "B", "C", "D")


@st.composite
def designs(draw):
    kind = draw(st.sampled_from(("realism", "real-vs-generated")))
    systems = NAMES[: draw(st.integers(2 if kind == "realism" else 1, 4))]
    sizes = (256, 170, 128)[: draw(st.integers(1, 3))]
    items = draw(st.integers(1, 9))
    pairs = len(systems) * (len(systems) - 1) // 2 if kind == "realism" else len(systems)
    most = items * pairs * len(sizes)
    each = draw(st.integers(1, min(most, 12)))
    assume(most > 3)  # the checks that the design is made with
    content = made_design(kind, systems, items=items, trials_each=most, sizes=sizes).model_dump()
    plain = with_plain(content, draw(st.integers(0, each - 1)), draw(st.integers(0, 3)))
    return Design(**{**content, "trials_each": each, **plain})


def with_plain(content, checks, practice):
    """Fields of a design with so many checks and practice trials."""
    trials = [each for each in content["trials"] if each["role"] == "trial"]
    model = next(each for each in content["trials"] if each["role"] == "attention")
    roles = ["attention"] * checks + ["practice"] * practice
    trials += [{**model, "role": role, "id": f"{10**8 + at:016d}"} for at, role in enumerate(roles)]
    return {"trials": trials, "attention_each": checks, "practice_each": practice}


def judged(design, participant):
    return [each for each in schedule(design, participant) if each.trial.role == "trial"]


def spread(counts, every):
    """By how much the most frequent of `every` is ahead of the least frequent."""
    found = [counts[each] for each in every]
    return max(found) - min(found)


@settings(deadline=None, max_examples=60)
@given(designs())
def test_everything_is_shown_equally_often_after_any_participant(design):
    items, pairs, sizes = ({key(trial) for trial in design.judged} for key in (item_of, pair_of, size_of))
    counts = {key: Counter() for key in (item_of, pair_of, size_of, cell_of)}
    sides = Counter()
    for participant in range(2 * len(design.judged) // design.trials_each + 2):
        for shown in judged(design, participant):
            for key, counted in counts.items():
                counted[key(shown.trial)] += 1
            assert {shown.left, shown.right} == {shown.trial.first, shown.trial.second}
            sides[shown.trial.id] += 1 if shown.left == shown.trial.first else -1
        for key, every in ((item_of, items), (pair_of, pairs), (size_of, sizes)):
            assert spread(counts[key], every) <= 1
        assert spread(counts[cell_of], set(product(items, pairs, sizes))) <= 1
        assert all(abs(ahead) <= 1 for ahead in sides.values())


def item_of(trial: Trial) -> str:
    return trial.item


def pair_of(trial: Trial) -> tuple[str, str]:
    return trial.systems


def size_of(trial: Trial) -> int:
    return trial.size


def cell_of(trial: Trial) -> tuple[str, tuple[str, str], int]:
    return trial.item, trial.systems, trial.size


@settings(deadline=None, max_examples=60)
@given(designs(), st.integers(0, 10**6))
def test_checks_are_spread_and_never_first_last_or_adjacent(design, participant):
    order = schedule(design, participant)
    assert [each.position for each in order] == list(range(len(order)))
    roles = [each.trial.role for each in order]
    assert roles[: design.practice_each] == ["practice"] * design.practice_each
    session = roles[design.practice_each :]
    assert Counter(session) == Counter(trial=design.trials_each, attention=design.attention_each)
    assert session[0] == session[-1] == "trial"
    assert ("attention", "attention") not in pairwise(session)
    for role, pool in (("practice", design.practice), ("attention", design.checks)):
        assert {each.trial.id for each in order if each.trial.role == role} == {each.id for each in pool}
    # In each of as many equal parts of the session there is one.
    behind = [session[:at].count("trial") for at, role in enumerate(session) if role == "attention"]
    places = design.trials_each - 1
    for part, after in enumerate(behind):
        begin, end = (number * places // design.attention_each for number in (part, part + 1))
        assert begin < after <= end


def test_it_is_the_same_again_and_another_for_others():
    design = made_design(items=40, trials_each=20)
    again = Design(**design.model_dump())
    assert schedule(design, 3) == schedule(again, 3)
    orders = {tuple(each.trial.id for each in schedule(design, number)) for number in range(0, 40, 2)}
    assert len(orders) == 20
    # Participants two apart see the same pictures, in another order and with the sides changed.
    assert {each.trial.id for each in judged(design, 0)} == {each.trial.id for each in judged(design, 2)}
    left = {each.trial.id: each.left for each in judged(design, 0)}
    assert all(left[each.trial.id] == each.right for each in judged(design, 2))
    other = Design(**{**design.model_dump(), "seed": 6})
    assert [each.trial for each in schedule(other, 3)] != [each.trial for each in schedule(design, 3)]


def test_the_order_does_not_depend_on_versions_of_anything():
    """Written down: a server that was upgraded must show the rest of a session as it began."""
    assert shuffled(range(8), 0, "x") == [5, 2, 4, 3, 0, 6, 7, 1]


def test_positions_cannot_be_guessed():
    design = made_design(trials_each=20)
    other = Design(**{**design.model_dump(), "secret": "1" * 64})
    found = [each.secret for number in range(50) for each in schedule(design, number)]
    assert len(set(found)) == len(found)
    assert all(len(secret) == 32 for secret in found)
    assert not {each.secret for each in schedule(other, 0)} & set(found)


def test_no_system_has_a_side_or_a_place():
    design = made_design(items=30, trials_each=30)
    first_on_left = [
        sum(each.left == each.trial.first for each in judged(design, number)) for number in range(60)
    ]
    assert set(first_on_left) == {15}
    # Of each place in the order the side is as good as drawn: 200 tosses, five standard deviations.
    orders = [judged(design, number) for number in range(200)]
    for place in range(30):
        left = sum(order[place].left == order[place].trial.first for order in orders)
        assert abs(left - 100) < 5 * 50**0.5
        assert len({order[place].trial.id for order in orders}) > 20
    checks = [
        each for number in range(40) for each in schedule(design, number) if each.trial.role == "attention"
    ]
    for trial in design.checks:
        assert sum(each.left == trial.first for each in checks if each.trial.id == trial.id) == 20


@pytest.mark.parametrize(
    ("items", "pairs", "sizes"), [(7, 1, 1), (9, 1, 3), (10, 3, 2), (4, 2, 2), (1, 6, 3)]
)
def test_the_deck_has_every_cell_once_and_no_item_twice_in_a_sitting(items, pairs, sizes):
    turns = list(deck(items, pairs, sizes))
    assert sorted(turns) == sorted(product(range(items), range(pairs), range(sizes)))
    for each in range(1, items + 1):
        for begin in range(0, len(turns) - each + 1, each):
            assert len({item for item, _, _ in turns[begin : begin + each]}) == each
