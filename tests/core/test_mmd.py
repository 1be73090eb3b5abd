"""The kernel discrepancies against loops and torch-fidelity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

from art2real.core import mmd
from art2real.core.mmd import (
    gaussian_kernel,
    kernel_distance,
    median_distance,
    mmd_squared,
    polynomial_mmd,
)


def gaussian_mmd(first, second, bandwidth):
    return mmd_squared(first, second, lambda x, y: gaussian_kernel(x, y, bandwidth))


def written_out(first, second, kernel):
    def mean(pairs):
        return np.mean([kernel(x, y) for x, y in pairs])

    def others(rows):
        return [(x, y) for at, x in enumerate(rows) for place, y in enumerate(rows) if at != place]

    return mean(others(first)) + mean(others(second)) - 2 * mean([(x, y) for x in first for y in second])


@pytest.fixture(params=[3, 2048])
def sets(request, monkeypatch):
    monkeypatch.setattr(mmd, "_BLOCK", request.param)  # pairs are worked on in blocks
    rng = np.random.default_rng(0)
    return rng.normal(size=(7, 5)), rng.normal(size=(10, 5)) + 0.5


def test_the_polynomial_kernel(sets):
    expected = written_out(*sets, lambda x, y: (x @ y / 5 + 1) ** 3)
    assert polynomial_mmd(*sets) == pytest.approx(expected, rel=1e-9)


def test_the_gaussian_kernel(sets):
    expected = written_out(*sets, lambda x, y: np.exp(-np.square(x - y).sum() / (2 * 1.7**2)))
    assert gaussian_mmd(*sets, 1.7) == pytest.approx(expected, rel=1e-9)
    both = np.concatenate(sets)
    distances = [np.linalg.norm(x - y) for at, x in enumerate(both) for y in both[:at]]
    assert median_distance(both) == pytest.approx(np.median(distances))
    assert median_distance(np.ones((4, 3))) == 1


def test_kernel_distance_is_that_of_torch_fidelity():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(300, 64)).astype(np.float32)
    second = (rng.normal(size=(400, 64)) * 1.1 + 0.2).astype(np.float32)
    mean, deviation = kernel_distance(first, second, subsets=200, subset_size=100, seed=1)
    theirs = kid_features_to_metric(
        torch.from_numpy(first),
        torch.from_numpy(second),
        kid_subsets=200,
        kid_subset_size=100,
        verbose=False,
    )
    expected = theirs["kernel_inception_distance_mean"]
    # Other subsets: 200 of them leave a standard error.
    error = theirs["kernel_inception_distance_std"] / np.sqrt(200)
    assert mean == pytest.approx(expected, abs=4 * error)
    assert deviation == pytest.approx(theirs["kernel_inception_distance_std"], rel=0.3)
    # The whole set as its own only subset leaves nothing to chance.
    whole = kid_features_to_metric(
        torch.from_numpy(first),
        torch.from_numpy(second[:300]),
        kid_subsets=2,
        kid_subset_size=300,
        verbose=False,
    )
    assert polynomial_mmd(first, second[:300]) == pytest.approx(
        whole["kernel_inception_distance_mean"], rel=1e-4
    )


def test_sets_from_one_source_are_at_no_distance():
    rng = np.random.default_rng(3)
    found = [gaussian_mmd(rng.normal(size=(40, 6)), rng.normal(size=(50, 6)), 3.4) for _ in range(50)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(50)
    assert min(found) < 0  # unbiased, so it has to fall below at times


def test_what_is_no_set_is_refused():
    good = np.ones((4, 3))
    with pytest.raises(ValueError, match="two rows at least"):
        polynomial_mmd(good, good[:1])
    with pytest.raises(ValueError, match=r"\[M, D\]"):
        gaussian_mmd(good, np.ones((4, 2)), 1)
