"""The linear probe: right where the answer is known, and blind to what it must not see."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from art2real.evaluation.probe import _interval, linear_probe


def gaussian(count, dimensions, *, shift=0.0, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dimensions)) + shift


def test_sets_that_are_apart_are_told_apart():
    found = linear_probe(gaussian(40, 30), gaussian(30, 30, shift=3, seed=1), seed=0)
    assert found.accuracy == 1
    assert found.deviation == 0
    assert 0.9 < found.low < 1
    assert found.high == 1
    assert (found.folds, found.repeats) == (5, 5)


def test_sets_that_are_alike_are_not():
    found = linear_probe(gaussian(80, 10), gaussian(60, 10, seed=1), seed=0)
    assert found.low < 0.5 < found.high
    assert 0.1 < found.high - found.low < 0.3


def test_the_accuracy_is_the_best_there_is():
    # Of Gaussians d apart the best cut tells the share Phi(d / 2) right.
    found = linear_probe(gaussian(400, 2), gaussian(400, 2, shift=[1.5, 0], seed=1), seed=0)
    assert found.accuracy == pytest.approx(norm.cdf(0.75), abs=0.03)
    assert found.low < norm.cdf(0.75) < found.high


def test_noise_of_many_dimensions_is_chance():
    # 20 images in 2000 dimensions can always be cut apart: whoever judges on what was seen finds 1.
    found = [
        linear_probe(gaussian(20, 2000, seed=2 * at), gaussian(20, 2000, seed=2 * at + 1), seed=0)
        for at in range(10)
    ]
    assert np.mean([each.accuracy for each in found]) == pytest.approx(0.5, abs=0.08)
    assert sum(each.low < 0.5 < each.high for each in found) >= 8


def test_a_large_set_does_not_win_by_its_size():
    found = linear_probe(gaussian(20, 5), gaussian(400, 5, seed=1), seed=0)
    assert found.accuracy == pytest.approx(0.5, abs=0.12)
    assert found.low < 0.5 < found.high


def test_the_interval_is_wilsons():
    # Two shares of the same trials: Newcombe's rule makes Wilson's half widths narrower by the root of two.
    wilson = binomtest(33, 40).proportion_ci(method="wilson")
    low, high = _interval(np.full(2, 33 / 40), np.full(2, 40), 0.0)
    assert low == pytest.approx(33 / 40 - (33 / 40 - wilson.low) / 2**0.5, abs=1e-4)
    assert high == pytest.approx(33 / 40 + (wilson.high - 33 / 40) / 2**0.5, abs=1e-4)
    wider = _interval(np.full(2, 33 / 40), np.full(2, 40), 0.05)
    assert wider[1] - 33 / 40 == pytest.approx(np.hypot(high - 33 / 40, 0.05))


def test_small_sets_have_fewer_folds():
    assert linear_probe(gaussian(3, 2), gaussian(30, 2, seed=1), seed=0).folds == 3
    with pytest.raises(ValueError, match="two images of each set at least, got 1 and 30"):
        linear_probe(gaussian(1, 2), gaussian(30, 2, seed=1), seed=0)


def test_the_same_seed_gives_the_same():
    sets = gaussian(30, 10), gaussian(30, 10, shift=0.3, seed=1)
    assert linear_probe(*sets, seed=3) == linear_probe(*sets, seed=3)
    assert linear_probe(*sets, seed=3) != linear_probe(*sets, seed=4)
