"""Shares of choices, and the tests that go with them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from art2real.core.proportions import binomial_p, wilson
from art2real.core.sign_flip import MOST_EXACT, sign_flip_p


@given(st.integers(1, 300).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_wilson_is_scipys(case):
    chosen, count = case
    theirs = binomtest(chosen, count).proportion_ci(method="wilson")
    low, high = wilson(chosen / count, count)
    assert (low, high) == (pytest.approx(theirs.low, abs=1e-12), pytest.approx(theirs.high, abs=1e-12))


def test_wilson_of_a_published_example():
    # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I: 81 of 263.
    assert np.round(wilson(81 / 263, 263), 4).tolist() == [0.2553, 0.3662]
    # 0 of 20: nothing below zero.
    assert np.round(wilson(0 / 20, 20), 4).tolist() == [0, 0.1611]


def test_wilson_takes_arrays():
    low, high = wilson(np.array([0.2, 0.5]), np.array([10, 40]))
    assert low.shape == high.shape == (2,)
    assert (low[1], high[1]) == tuple(map(pytest.approx, wilson(0.5, 40)))


@given(st.integers(1, 60).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_the_exact_test_sums_what_is_no_likelier(case):
    chosen, count = case
    chances = binom.pmf(np.arange(count + 1), count, 0.5)
    assert binomial_p(chosen, count) == pytest.approx(chances[chances <= chances[chosen] * (1 + 1e-7)].sum())


@given(st.lists(st.floats(-1, 1).map(lambda value: round(value, 3)), max_size=9))
def test_sign_flips_are_all_of_them(numbers):
    sums = [
        abs(sum(s * n for s, n in zip(signs, numbers, strict=True)))
        for signs in product((1, -1), repeat=len(numbers))
    ]
    expected = np.mean([each >= abs(sum(numbers)) - 1e-9 for each in sums])
    assert sign_flip_p(numbers, seed=0) == pytest.approx(expected)


def test_sign_flips_of_equal_numbers_are_the_sign_test():
    numbers = [0.25] * 14 + [-0.25] * 4
    assert sign_flip_p(numbers, seed=0) == pytest.approx(binomial_p(14, 18))
    assert sign_flip_p([0.1] * 6, seed=0) == 2 / 2**6


def test_many_numbers_are_drawn_and_repeatable():
    # No number may be so many that zeros decide: they have no sign.
    numbers = [0.1] * 19 + [-0.1] * 7
    assert len(numbers) > MOST_EXACT
    assert sign_flip_p(numbers, seed=1) == sign_flip_p(numbers, seed=1)
    assert sign_flip_p(numbers, seed=1) == pytest.approx(binomial_p(19, 26), abs=0.004)
    assert sign_flip_p([0.3] * 40, seed=1) == 1 / 20_001
    assert sign_flip_p([*numbers[:15], *[0.0] * 40], seed=1) == 2 / 2**15


def test_sign_flips_hold_their_level():
    rng = np.random.default_rng(3)
    found = [sign_flip_p(rng.normal(size=8), seed=0) for _ in range(1000)]
    assert np.mean([each <= 0.05 for each in found]) == pytest.approx(0.05, abs=0.02)
