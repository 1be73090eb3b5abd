"""Moments and the Fréchet distance against forms that are obvious, and what is said of its uncertainty."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from art2real.core.frechet import Spread, bootstrap, extrapolate, frechet_distance, frechet_of_features
from art2real.core.moments import Moments


def features(seed, count, dimensions):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(count, dimensions)) @ rng.normal(size=(dimensions, dimensions)) * 0.3 + rng.normal()
    )


def by_svd(first, second):
    """Tr (C1 C2)^(1/2) is the sum of the singular values of the product of the roots."""
    one, other = np.cov(first.T), np.cov(second.T)
    root = np.linalg.svd(np.real(sqrtm(one)) @ np.real(sqrtm(other)), compute_uv=False).sum()
    shift = np.square(first.mean(0) - second.mean(0)).sum()
    return shift + np.trace(one) + np.trace(other) - 2 * root


# Images (of both sets) and dimensions: many of both, fewer on one side, fewer on both, as many.
SHAPES = [(300, 400, 24), (10, 200, 30), (200, 10, 30), (12, 15, 40), (30, 30, 30), (31, 31, 30), (2, 2, 5)]


@pytest.mark.parametrize(("count", "others", "dimensions"), SHAPES)
def test_the_distance_is_that_of_the_svd_form(count, others, dimensions):
    first, second = features(1, count, dimensions), features(2, others, dimensions)
    expected = by_svd(first, second)
    assert frechet_of_features(first, second) == pytest.approx(expected, rel=1e-5)
    assert frechet_distance(Moments.of(first), Moments.of(second)) == pytest.approx(expected, rel=1e-5)
    assert frechet_of_features(second, first) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("count", "others", "dimensions"), SHAPES)
def test_the_distance_is_that_of_torch_fidelity(count, others, dimensions, capsys):
    first, second = features(3, count, dimensions), features(4, others, dimensions)
    statistics = [fid_features_to_statistics(torch.from_numpy(each)) for each in (first, second)]
    [expected] = fid_statistics_to_metric(*statistics, verbose=False).values()
    assert frechet_of_features(first, second) == pytest.approx(expected, rel=1e-4)


def test_gaussians_of_known_distance():
    # Diagonal covariances: the distance is that of the means plus that of the deviations.
    rng = np.random.default_rng(0)
    deviations = rng.uniform(0.5, 2, (2, 6))
    means = rng.normal(size=(2, 6))
    first, second = (rng.normal(size=(200_000, 6)) * deviations[at] + means[at] for at in range(2))
    expected = np.square(means[0] - means[1]).sum() + np.square(deviations[0] - deviations[1]).sum()
    assert frechet_of_features(first, second) == pytest.approx(expected, rel=0.01)


def test_a_set_is_at_no_distance_from_itself():
    for count in (8, 100):
        same = features(5, count, 20)
        scale = np.trace(np.cov(same.T))
        assert frechet_of_features(same, same) == pytest.approx(0, abs=1e-6 * scale)
        assert frechet_distance(Moments.of(same), Moments.of(same)) == pytest.approx(0, abs=1e-6 * scale)


@given(st.lists(st.integers(0, 40), max_size=4), st.integers(1, 8), st.integers(0, 1000))
def test_moments_of_parts_add_up_to_those_of_the_whole(cuts, dimensions, seed):
    whole = np.random.default_rng(seed).normal(size=(40, dimensions)) * 3 + 5
    parts = [Moments.of(part) for part in np.split(whole, sorted(cuts))]
    added = sum(parts[1:], parts[0])
    assert added.count == 40
    np.testing.assert_allclose(added.mean, whole.mean(0), rtol=1e-12)
    np.testing.assert_allclose(added.covariance, np.atleast_2d(np.cov(whole.T)), rtol=1e-9, atol=1e-11)


def test_what_is_no_set_is_refused():
    good = features(0, 5, 3)
    with pytest.raises(ValueError, match="two rows at least"):
        frechet_of_features(good, good[:1])
    with pytest.raises(ValueError, match="two rows at least"):
        _ = Moments.of(good[:1]).covariance
    with pytest.raises(ValueError, match="needs a row"):
        _ = Moments.of(good[:0]).mean
    with pytest.raises(ValueError, match=r"\[M, D\]"):
        frechet_of_features(good, features(0, 5, 4))
    with pytest.raises(ValueError, match="differ in size"):
        frechet_distance(Moments.of(good), Moments.of(features(0, 5, 4)))
    with pytest.raises(ValueError, match=r"\[N, D\]"):
        Moments.of(good[0])
    for count in (2, 9):
        broken = features(0, count, 5)
        broken[1, 1] = np.nan
        with pytest.raises(ValueError, match="not finite"):
            frechet_of_features(features(1, 9, 5), broken)


@pytest.mark.parametrize(("count", "dimensions"), [(100, 12), (30, 60)])
def test_the_interval_holds_the_expected_distance_at_its_rate(count, dimensions):
    rng = np.random.default_rng(7)

    def draw():
        first = rng.normal(size=(count, dimensions))
        return first, rng.normal(size=(count, dimensions)) * 1.3 + 0.3

    expected = np.mean([frechet_of_features(*draw()) for _ in range(300)])
    held = 0
    for seed in range(60):
        pair = draw()
        low, high = bootstrap(*pair, resamples=40, seed=seed).interval(frechet_of_features(*pair))
        held += low <= expected <= high
    # 57 of 60 at 95 %; three deviations below it are 52. It errs towards too wide.
    assert held >= 52


def test_the_interval_of_a_resampling_that_is_written_out():
    first, second = features(1, 12, 20), features(2, 9, 20)
    rng = np.random.default_rng(3)
    found = []
    for _ in range(10):
        rows = [rng.integers(len(each), size=len(each)) for each in (first, second)]
        found.append(frechet_of_features(first[rows[0]], second[rows[1]]))
    spread = bootstrap(first, second, resamples=10, seed=3)
    assert spread.deviation == pytest.approx(np.std(found, ddof=1), rel=1e-6)
    assert Spread(2.0, 10).interval(1.0) == (0.0, pytest.approx(1 + 1.96 * 2))


def test_extrapolation_finds_what_endless_sets_have():
    rng = np.random.default_rng(1)
    true = 32 * (0.3**2 + 0.3**2)  # shift and difference of the deviations
    near, far = [], []
    for seed in range(10):
        first, second = rng.normal(size=(300, 32)), rng.normal(size=(300, 32)) * 1.3 + 0.3
        near.append(extrapolate(first, second, seed=seed))
        far.append(frechet_of_features(first, second))
    assert np.mean(far) > 1.3 * true  # what few images do to the plain distance
    assert np.mean(near) == pytest.approx(true, rel=0.1)
