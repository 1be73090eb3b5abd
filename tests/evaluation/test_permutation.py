"""The permutation test of the maximum mean discrepancy."""

from __future__ import annotations

import numpy as np
import pytest

from art2real.core.mmd import gaussian_kernel, mmd_squared
from art2real.evaluation import permutation
from art2real.evaluation.permutation import permutation_test


def gaussian(count, *, shift=0.0, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32) + np.float32(shift)


def test_the_discrepancy_is_the_plain_one(monkeypatch):
    first, second = gaussian(31), gaussian(17, shift=0.4, seed=1)
    expected = mmd_squared(first, second, lambda x, y: gaussian_kernel(x, y, 2.5))
    whole = permutation_test(first, second, 2.5, seed=0)
    assert whole.squared == pytest.approx(expected, rel=1e-9)
    monkeypatch.setattr(permutation, "_BLOCK", 7)
    blocks = permutation_test(first, second, 2.5, seed=0)
    assert blocks.squared == pytest.approx(expected, rel=1e-9)
    assert blocks.p == whole.p


def test_sets_that_are_apart_are_never_so_by_chance():
    found = permutation_test(gaussian(30), gaussian(40, shift=1, seed=1), 3, seed=0, permutations=99)
    assert found.p == 0.01
    assert found.squared > 0.1


def test_sets_that_are_alike_are_as_far_apart_as_chance_has_it():
    found = [
        permutation_test(gaussian(15, seed=2 * at), gaussian(20, seed=2 * at + 1), 3, seed=at)
        for at in range(60)
    ]
    # p is uniform then: mean 1/2, deviation 1/sqrt(12).
    assert np.mean([each.p for each in found]) == pytest.approx(0.5, abs=0.12)
    assert np.mean([each.p < 0.2 for each in found]) == pytest.approx(0.2, abs=0.16)
    assert min(each.squared for each in found) < 0 < max(each.squared for each in found)


def test_an_image_alone_is_no_set():
    with pytest.raises(ValueError, match="two rows at least, got 1 and 5"):
        permutation_test(gaussian(1), gaussian(5), 1, seed=0)
