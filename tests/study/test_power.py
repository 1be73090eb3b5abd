"""The power analysis against sums over all outcomes, and against simulated participants."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from art2real.study.power import (
    answers_needed,
    as_lines,
    effective_answers,
    exact_power,
    participants_needed,
    power_table,
)


@pytest.mark.parametrize("answers", [0, 1, 5, 6, 7, 20, 49])
@pytest.mark.parametrize("preference", [0.5, 0.6, 0.9])
def test_the_power_is_the_chance_of_a_significant_outcome(answers, preference):
    significant = [
        count for count in range(answers + 1) if answers and binomtest(count, answers).pvalue <= 0.05
    ]
    expected = sum(binom.pmf(count, answers, preference) for count in significant)
    assert exact_power(answers, preference) == pytest.approx(expected, abs=1e-12)


def test_without_a_preference_the_level_is_kept():
    assert all(exact_power(answers, 0.5) <= 0.05 + 1e-12 for answers in range(200))


@pytest.mark.parametrize("preference", [0.55, 0.6, 0.65, 0.7])
def test_so_many_answers_are_enough_and_no_fewer(preference):
    needed = answers_needed(preference)
    assert exact_power(needed - 1, preference) < 0.8
    assert min(exact_power(answers, preference) for answers in range(needed, 2 * needed)) >= 0.8
    # The textbook's normal approximation, which is a little short.
    textbook = (
        (1.959964 * 0.5 + 0.841621 * (preference * (1 - preference)) ** 0.5) / (preference - 0.5)
    ) ** 2
    assert textbook <= needed <= textbook * 1.15 + 8


def test_answers_that_cluster_vary_as_the_fewer_that_they_are_worth():
    random = np.random.default_rng(0)
    participants, each, rho, preference = 40, 12, 0.1, 0.6
    # Beta-binomial: two answers of one participant are correlated by rho.
    strength = 1 / rho - 1
    leaning = random.beta(preference * strength, (1 - preference) * strength, size=(20_000, participants))
    shares = random.binomial(each, leaning).sum(axis=1) / (participants * each)
    worth = effective_answers(participants, each, rho)
    assert worth == pytest.approx(480 / 2.1)
    assert shares.var() == pytest.approx(preference * (1 - preference) / worth, rel=0.05)


def test_simulated_studies_see_the_preference_as_often_as_promised():
    random = np.random.default_rng(1)
    each, preference = 10, 0.65
    participants = participants_needed(preference, each, 0.0)
    counts = random.binomial(participants * each, preference, size=4000)
    significant = {
        count: binomtest(count, participants * each).pvalue <= 0.05 for count in set(counts.tolist())
    }
    found = np.mean([significant[count] for count in counts.tolist()])
    assert 0.8 - 0.02 < found < 0.9


def test_more_of_anything_needs_no_more_participants():
    assert participants_needed(0.6, 1, 0.0) == answers_needed(0.6)
    # One answer each cannot cluster.
    assert participants_needed(0.6, 1, 0.1) == answers_needed(0.6)
    by_answers = [participants_needed(0.6, each, 0.1) for each in (1, 2, 5, 10, 50, 1000)]
    assert by_answers == sorted(by_answers, reverse=True)
    # However many each gives, correlation leaves a floor.
    assert by_answers[-1] >= answers_needed(0.6) * 0.1
    by_rho = [participants_needed(0.6, 10, rho) for rho in (0.0, 0.05, 0.1)]
    assert by_rho == sorted(by_rho)
    # Half of an answer each: twice as many people as for one.
    assert participants_needed(0.6, 0.5, 0.1) == 2 * answers_needed(0.6)


def test_the_table_agrees_with_itself():
    table = power_table(30.0, planned=20)
    assert [(row.preference, row.rho) for row in table.rows[:4]] == [
        (0.55, 0.0),
        (0.55, 0.05),
        (0.55, 0.1),
        (0.6, 0.0),
    ]
    for row in table.rows:
        enough = power_table(30.0, planned=row.participants)
        found = {(each.preference, each.rho): each.planned_power for each in enough.rows}
        assert found[row.preference, row.rho] >= 0.8
    lines = as_lines(table)
    assert len(lines) == 6
    assert "power 80%" in lines[0]
    assert "30 answers each" in lines[0]
    assert "power of 20, rho 0.05" in lines[1]
    assert len({len(line) for line in lines[1:]}) == 1
    assert all(row.planned_power is None for row in power_table(30.0, planned=None).rows)
    assert "power of" not in as_lines(power_table(30.0, planned=None))[1]
