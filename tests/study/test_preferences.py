"""The table's rows: counted rightly, and holding a known preference at the rate that they claim."""

from __future__ import annotations

import numpy as np
import pytest

from art2real.core.proportions import binomial_p
from art2real.study.answers import Answer
from art2real.study.exclusions import taken
from art2real.study.findings import findings
from art2real.study.judgements import judgements
from art2real.study.preferences import differences, shares
from tests.study.simulated import WHEN, People, made_design, made_panel


def answered(design, participant, trial, system, *, left=True, ms=1000):
    picture = trial.first if trial.first.system == system else trial.second
    assert picture.system == system
    return Answer(participant, 0, trial.id, "left" if left else "right", picture.file, ms, WHEN)


def test_two_systems_have_a_row_each():
    design = made_design(items=4, trials_each=4)
    choices = ["Ours", "Ours", "Ours", "CycleGAN"]
    answers = [
        answered(design, who, trial, system)
        for who in range(2)
        for trial, system in zip(design.judged, choices, strict=True)
    ]
    one, other = shares(design, judgements(design, answers))
    assert (one.name, one.against, one.chosen, one.answers) == ("CycleGAN", "Ours", 2, 8)
    assert (other.name, other.share, other.participants, other.images) == ("Ours", 0.75, 2, 4)
    assert one.interval.low == pytest.approx(1 - other.interval.high)
    assert other.binomial_p == pytest.approx(binomial_p(6, 8))
    assert other.participants_p == 0.5  # both lean the same way: two of four signs
    assert other.few == ("2 participants only", "4 images only")


def test_three_systems_have_their_pairs_and_all_others():
    design = made_design(systems=("A", "B", "C"), items=2, trials_each=6)
    # A beats all, B beats C.
    answers = [answered(design, 0, trial, min(trial.systems)) for trial in design.judged]
    rows = {
        (each.name, each.against): (each.chosen, each.answers)
        for each in shares(design, judgements(design, answers))
    }
    assert rows == {
        ("A", ""): (4, 4),
        ("B", ""): (2, 4),
        ("C", ""): (0, 4),
        ("A", "B"): (2, 2),
        ("A", "C"): (2, 2),
        ("B", "C"): (2, 2),
    }
    groups = findings(design, judgements(design, answers)).groups
    assert [(each.name, each.against) for each in groups] == [("A", "B"), ("A", "C"), ("B", "C")]


def test_generated_pictures_have_a_row_for_each_size():
    design = made_design("real-vs-generated", ("A", "B"), items=3, trials_each=12, sizes=(256, 128))
    # A is taken for real at 128 pixels, B never.
    answers = [
        answered(design, who, trial, "A" if trial.second.system == "A" and trial.size == 128 else "real")
        for who in range(3)
        for trial in design.judged
    ]
    found = judgements(design, answers)
    rows = {
        (each.name, each.size): (each.against, each.chosen, each.answers) for each in shares(design, found)
    }
    assert rows == {
        ("A", None): ("real", 9, 18),
        ("A", 256): ("real", 0, 9),
        ("A", 128): ("real", 9, 9),
        ("B", None): ("real", 0, 18),
        ("B", 256): ("real", 0, 9),
        ("B", 128): ("real", 0, 9),
    }
    less = {each.size: each for each in differences(design, found)}
    assert {size: each.difference for size, each in less.items()} == {None: 0.5, 256: 0, 128: 1}
    assert (less[128].participants, less[128].participants_p, less[256].participants_p) == (3, 2 / 8, 1)


def test_practice_and_checks_do_not_count():
    design = made_design(items=4, trials_each=4)
    answers = [answered(design, 0, design.checks[0], "check")]
    assert judgements(design, answers) == [] and findings(design, []) is None


def test_sides_times_and_agreement():
    design = made_design(items=4, trials_each=4)
    one, other = design.judged[:2]
    answers = [
        answered(design, 0, one, "Ours", left=True, ms=1000),
        answered(design, 1, one, "Ours", left=False, ms=2000),
        answered(design, 0, other, "Ours", left=True, ms=3000),
        answered(design, 1, other, "CycleGAN", left=True, ms=5000),
    ]
    found = findings(design, judgements(design, answers))
    assert (found.left.share, found.left.answers) == (0.75, 4)
    (group,) = found.groups
    assert group.reaction_ms == (1750, 2500, 3500)
    assert group.agreement.same == 0.5 and group.agreement.items == 2


def test_a_known_preference_is_recovered_at_the_nominal_rate():
    # Leanings of people and images, one of ten participants careless, and who they are left to the rule.
    panel = made_panel(16, items=30, trials_each=30)
    people = People({"CycleGAN": 0.0, "Ours": 0.8}, careless=0.1)
    truth, held, held_by_wilson, excluded = people.truth("CycleGAN", "Ours"), [], [], 0
    assert 0.65 < truth < 0.7
    for seed in range(400):
        answers = panel.answers(people, seed)
        counting = {each.participant for each in taken(panel.design, answers) if each.counts}
        excluded += 16 - len(counting)
        found = judgements(panel.design, [each for each in answers if each.participant in counting])
        row = shares(panel.design, found)[1]
        held.append(row.interval.low <= truth <= row.interval.high)
        held_by_wilson.append(row.wilson.low <= truth <= row.wilson.high)
    assert excluded / 6400 == pytest.approx(0.1, abs=0.02)
    assert 0.93 <= np.mean(held) <= 0.99
    assert np.mean(held_by_wilson) < 0.8


def test_careless_answers_pull_a_preference_to_one_half():
    panel = made_panel(16, items=30, trials_each=30)
    people = People({"CycleGAN": 0.0, "Ours": 1.2}, careless=0.4)
    found = []
    for seed in range(40):
        answers = panel.answers(people, seed)
        counting = {each.participant for each in taken(panel.design, answers) if each.counts}
        every = judgements(panel.design, answers)
        some = [each for each in every if each.participant in counting]
        found.append([shares(panel.design, of)[1].share for of in (some, every)])
    counted, everyone = np.mean(found, axis=0)
    assert counted == pytest.approx(people.truth("CycleGAN", "Ours"), abs=0.03)
    assert everyone < counted - 0.06


@pytest.mark.slow
@pytest.mark.parametrize(("participants", "items"), [(10, 20), (20, 50), (40, 100)])
def test_generated_pictures_are_recovered_at_the_nominal_rate(participants, items):
    panel = made_panel(
        participants,
        kind="real-vs-generated",
        systems=("A", "B"),
        items=items,
        trials_each=40,
        sizes=(256, 128),
    )
    people = People({"real": 0.0, "A": -0.2, "B": -0.8})
    held, less = [], people.truth("real", "A") - people.truth("real", "B")
    for seed in range(400):
        found = judgements(panel.design, panel.answers(people, seed))
        for row in shares(panel.design, found):
            held.append(row.interval.low <= people.truth("real", row.name) <= row.interval.high)
        for row in differences(panel.design, found):
            held.append(row.interval.low <= less <= row.interval.high)
    assert 0.93 <= np.mean(held) <= 0.985
