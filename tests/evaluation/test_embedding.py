"""Features as points of a plane."""

from __future__ import annotations

import numpy as np
import pytest

from art2real.evaluation.embedding import principal_components, tsne


def features(count, dimensions, *, seed=0):
    """Rows with a few strong directions, as features have them."""
    rng = np.random.default_rng(seed)
    strong = rng.normal(size=(count, 4)) * [8, 6, 4, 3]
    return (strong @ rng.normal(size=(4, dimensions)) + rng.normal(size=(count, dimensions))).astype(
        np.float32
    )


@pytest.mark.parametrize(("count", "dimensions", "exact"), [(40, 90, 1e-9), (90, 40, 1e-9), (520, 600, 1e-3)])
def test_components_are_those_of_the_singular_values(count, dimensions, exact):
    rows = features(count, dimensions)
    found = principal_components(rows, seed=0)
    centred = rows.astype(np.float64) - rows.astype(np.float64).mean(0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    shares = values**2 / (values**2).sum()
    size = min(50, count - 1, dimensions)
    assert found.points.shape == (count, size)
    assert found.explained[:4] == pytest.approx(shares[:4], rel=exact)
    for at in range(2):  # the sign of a component has no meaning
        expected = left[:, at] * values[at]
        sign = np.sign(expected @ found.points[:, at])
        assert np.abs(found.points[:, at] - sign * expected).max() < exact * values[at]


def test_tsne_keeps_neighbours_together():
    rows = np.concatenate([features(25, 30), features(25, 30, seed=1) + 40])
    found = tsne(principal_components(rows, seed=0), seed=0)
    assert found.points.shape == (50, 2)
    assert found.perplexity == 49 / 3  # 30 needs more images
    distances = np.square(found.points[:, None] - found.points[None]).sum(-1)
    np.fill_diagonal(distances, np.inf)
    assert (distances.argmin(1) // 25 == np.arange(50) // 25).all()


def test_the_same_seed_gives_the_same_picture():
    rows = features(60, 520)
    first, second = (principal_components(rows, seed=3) for _ in range(2))
    assert (first.points == second.points).all()
    assert (tsne(first, seed=3).points == tsne(second, seed=3).points).all()


def test_images_that_are_all_the_same_are_one_point():
    found = principal_components(np.ones((12, 5), np.float32), seed=0)
    assert not found.points.any()
    assert not found.explained.any()
    assert (tsne(found, seed=0).points == np.zeros((12, 2))).all()
