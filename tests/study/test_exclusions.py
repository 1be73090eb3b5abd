"""Whose answers count: by the design's rule alone, each with a reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from art2real.errors import UserError
from art2real.study.exclusions import rule, taken
from tests.study.simulated import People, made_panel

PEOPLE = People({"CycleGAN": 0.0, "Ours": 0.5})


@pytest.fixture
def panel():
    return made_panel(3, items=10, trials_each=10)


@pytest.fixture
def answers(panel):
    return [replace(each, reaction_ms=500) for each in right(panel, panel.answers(PEOPLE, 0))]


def right(panel, answers, wrong=()):
    """With all attention checks answered rightly, but those (participant, number of the check)."""
    found, seen = [], {}
    for each in answers:
        trial = panel.design.by_id[each.trial]
        if trial.role == "attention":
            number = seen[each.participant] = seen.get(each.participant, -1) + 1
            picture = trial.second if (each.participant, number) in wrong else trial.first
            each = replace(each, chosen=picture.file)
        found.append(each)
    return found


def judged(panel, answers, participant):
    return [
        a for a in answers if a.participant == participant and panel.design.by_id[a.trial].role == "trial"
    ]


def test_who_keeps_the_rule_counts(panel, answers):
    found = taken(panel.design, answers)
    assert [each.participant for each in found] == [0, 1, 2]
    assert all(each.counts and each.answered == 10 and each.median_ms == 500 for each in found)


def test_attention(panel, answers):
    # One failure is allowed, two are not.
    wrong = right(panel, answers, {(0, 1), (2, 0), (2, 2)})
    found = taken(panel.design, wrong)
    assert [each.attention_failures for each in found] == [1, 0, 2]
    assert [each.counts for each in found] == [True, True, False]
    assert found[2].reasons == ("2 of 3 attention checks answered wrongly (at most 1)",)


def test_haste(panel, answers):
    hasty = judged(panel, answers, 1)[:6]
    faster = [replace(each, reaction_ms=499) if each in hasty else each for each in answers]
    assert taken(panel.design, faster)[1].reasons == ("median reaction time 499 ms (at least 500)",)
    # Five of ten: the median is half of both.
    fewer = [replace(each, reaction_ms=499) if each in hasty[:5] else each for each in answers]
    assert taken(panel.design, fewer)[1].median_ms == 499.5
    # Checks do not count: to see at once what is wrong is no haste.
    checks = [each for each in answers if panel.design.by_id[each.trial].role == "attention"]
    quick = [replace(each, reaction_ms=10) if each in checks else each for each in answers]
    assert all(each.counts for each in taken(panel.design, quick))


def test_answers_that_are_missing(panel, answers):
    gone = judged(panel, answers, 0)
    eight = [each for each in answers if each not in gone[:2]]
    assert taken(panel.design, eight)[0].counts
    seven = [each for each in answers if each not in gone[:3]]
    assert taken(panel.design, seven)[0].reasons == ("7 of 10 trials answered (at least 80 %)",)
    none = [each for each in answers if each not in gone]
    assert taken(panel.design, none)[0].median_ms is None


def test_all_reasons_are_named(panel, answers):
    worst = right(panel, answers, {(0, 0), (0, 1), (0, 2)})
    worst = [replace(each, reaction_ms=100) for each in worst if each not in judged(panel, worst, 0)[:9]]
    assert len(taken(panel.design, worst)[0].reasons) == 3


def test_the_rule_in_words(panel):
    assert rule(panel.design) == (
        "more than 1 of 3 attention checks answered wrongly, a median reaction time below 500 ms, or less "
        "than 80 % of 10 trials answered"
    )


def test_answers_of_another_study_are_refused(panel, answers):
    with pytest.raises(UserError, match="participant 0, answer 0: the design knows no such trial ffff"):
        taken(panel.design, [replace(answers[0], trial="f" * 16)])
    with pytest.raises(UserError, match="no such picture eeee"):
        taken(panel.design, [replace(answers[0], chosen="e" * 16 + ".png")])
