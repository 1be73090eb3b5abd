"""Each estimator against loops in float64 over the columns it is said to use, and on degenerate input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from art2real.core.affinity import SOFTNESS, unit
from art2real.core.contextual import contextual_loss
from art2real.core.estimators import DEFAULT_WEIGHT, Exact, Sampled, Sparse, Union, make_estimator
from art2real.errors import UsageError
from tests.core.brute_source import BruteSource
from tests.core.test_contextual import gradient_of, loop_loss, patches

NAMES = ["exact", "union", "sparse", "sampled"]


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def loss_and_gradient(estimator, generated, source, seed=0):
    value, gradient = gradient_of(estimator.prepare(generated, source, random(seed)), generated)
    assert gradient.isfinite().all()
    return value, gradient


def ranked(generated: torch.Tensor, source: BruteSource) -> np.ndarray:
    """All rows of the bank, nearest first, by a loop of its own: int `[N, R]`."""
    mean = source.mean.numpy()
    real = source.patches.numpy() - mean
    real /= np.sqrt((real**2).sum(1, keepdims=True) + SOFTNESS)
    return np.stack([np.argsort(-(real @ (patch - mean)), kind="stable") for patch in generated.numpy()])


def test_exact_is_the_loss_over_the_whole_bank():
    generated, source = patches(7), BruteSource(patches(130, seed=1))
    value, gradient = loss_and_gradient(Exact(), generated, source)
    expected = loop_loss(
        generated.numpy(), lambda i: [(m, 1.0) for m in source.patches.numpy()], source.mean.numpy()
    )
    assert value == pytest.approx(expected, abs=1e-9)
    _, whole = gradient_of(lambda g: contextual_loss(g, source.patches, source.mean), generated)
    torch.testing.assert_close(gradient, whole)


@pytest.mark.parametrize("k", [1, 20])
def test_union_gives_every_patch_the_neighbours_of_all_once(k):
    generated, source = patches(7), BruteSource(patches(130, seed=1))
    columns = np.unique(ranked(generated, source)[:, :k])
    assert len(columns) < 7 * k or k == 1  # some rows are neighbours of several patches
    expected = loop_loss(
        generated.numpy(), lambda i: [(source.patches[j].numpy(), 1.0) for j in columns], source.mean.numpy()
    )
    value, _ = loss_and_gradient(Union(neighbours=k, bandwidth=1.0), generated, source)
    assert value == pytest.approx(expected, abs=1e-9)


def test_sparse_gives_every_patch_its_own_neighbours():
    generated, source = patches(7), BruteSource(patches(130, seed=1))
    rank = ranked(generated, source)
    expected = loop_loss(
        generated.numpy(),
        lambda i: [(source.patches[j].numpy(), 1.0) for j in rank[i, :4]],
        source.mean.numpy(),
        0.5,
    )
    value, _ = loss_and_gradient(Sparse(neighbours=4, bandwidth=0.5), generated, source)
    assert value == pytest.approx(expected, abs=1e-9)


class Recorder(BruteSource):
    """Remembers which rows were drawn from which cells."""

    lost = False
    """Whether every third row went since the cells were counted."""

    def draw(self, cells, random):
        self.drawn_cells, self.drawn = cells, super().draw(cells, random)
        if self.lost:
            self.drawn[self.drawn % 3 == 0] = -1
        return self.drawn


def clustered(count: int = 400) -> Recorder:
    """A bank in uneven cells that mean something, the fourth of them empty."""
    real = patches(count, seed=1)
    cell_of = (unit(real, real.mean(0)) @ patches(6, seed=2).T).argmax(1)
    return Recorder(real, cell_of=torch.where(cell_of >= 3, cell_of + 1, cell_of))


def expected_shares(generated, source, estimator) -> np.ndarray:
    """p_c by loops over patches and cells, in float64."""
    mean, cells = source.mean.numpy(), source.cells()

    def direction(v):
        return (v - mean) / np.sqrt(((v - mean) ** 2).sum() + SOFTNESS)

    sizes, shares = cells.sizes.numpy(), []
    for i, patch in enumerate(generated.numpy()):
        a = direction(patch)
        least = 1 - a @ direction(source.patches[ranked(generated, source)[i, 0]].numpy())
        scale = 1 / ((least + estimator.epsilon) * estimator.bandwidth)
        gaps = np.array([a @ m.numpy() - 1 + least for m in cells.directions])
        e = sizes * np.sqrt(np.exp(scale * gaps))
        affinity = 1 / (1 + (sizes * np.exp(scale * gaps)).sum())
        shares.append(affinity * np.square(e / e.sum()))
    spread = np.sqrt(np.sum(shares, 0))
    return (1 - estimator.uniform) * spread / spread.sum() + estimator.uniform * sizes / sizes.sum()


@pytest.mark.parametrize(("bandwidth", "lost"), [(1.0, False), (0.5, False), (1.0, True)])
def test_sampled_weighs_each_draw_by_the_inverse_of_its_chance(bandwidth, lost):
    generated, source = patches(7), clustered()
    source.lost = lost
    estimator = Sampled(neighbours=5, draws=90, bandwidth=bandwidth)
    value, _ = loss_and_gradient(estimator, generated, source)
    chance = expected_shares(generated, source, estimator)
    rank, sizes = ranked(generated, source), source.cells().sizes.numpy()
    assert len(source.drawn) == 90
    assert len(source.drawn.unique()) < 90  # some rows come twice, and count twice

    def columns(i):
        near = [(source.patches[j].numpy(), 1.0) for j in rank[i, :5]]
        far = [
            (source.patches[j].numpy(), sizes[c] / (90 * chance[c]))
            for j, c in zip(source.drawn.tolist(), source.drawn_cells.tolist(), strict=True)
            if j >= 0 and j not in rank[i, :5]
        ]
        return near + far

    assert value == pytest.approx(
        loop_loss(generated.numpy(), columns, source.mean.numpy(), bandwidth), abs=1e-6
    )


def test_the_far_field_expects_the_sum_over_all_rows_that_are_not_near():
    generated, source = patches(5), clustered()
    estimator = Sampled(neighbours=5, draws=64)
    estimates = np.zeros((600, 5))
    alone = [torch.where(torch.arange(5)[:, None] == i, generated, torch.nan) for i in range(5)]
    for seed in range(len(estimates)):
        loss = estimator.prepare(generated, source, random(seed))
        # Of a single patch, exp(loss) is the denominator over its largest term: 1 + near + far.
        estimates[seed] = [np.exp(float(loss(patch))) for patch in alone]
    exact = [np.exp(float(contextual_loss(patch, source.patches, source.mean))) for patch in alone]
    error = estimates.std(0) / np.sqrt(len(estimates))
    assert (error < 0.02 * np.array(exact)).all()
    assert (np.abs(estimates.mean(0) - exact) < 4 * error).all()
    near_only = Sampled(neighbours=5, draws=0).prepare(generated, source, random())
    assert all(np.exp(float(near_only(p))) < 0.5 * e for p, e in zip(alone, exact, strict=True))


def test_a_bank_of_no_more_rows_than_draws_is_taken_whole():
    generated, source = patches(7), BruteSource(patches(90, seed=1))
    exact, exact_gradient = loss_and_gradient(Exact(), generated, source)
    for draws in (90, 4096):
        value, gradient = loss_and_gradient(Sampled(neighbours=5, draws=draws), generated, source)
        assert value == pytest.approx(exact, abs=1e-9)
        torch.testing.assert_close(gradient, exact_gradient)


def test_no_draws_leave_the_near_field():
    generated, source = patches(7), BruteSource(patches(90, seed=1))
    sparse, _ = loss_and_gradient(Sparse(neighbours=6), generated, source)
    value, _ = loss_and_gradient(Sampled(neighbours=6, draws=0), generated, source)
    assert value == pytest.approx(sparse, abs=1e-12)


def test_chance_comes_from_the_given_generator_only():
    generated, source = patches(7).float(), clustered()
    source.patches, source.mean = source.patches.float(), source.mean.float()
    estimator = Sampled(neighbours=5, draws=64)
    torch.manual_seed(1)
    first, _ = loss_and_gradient(estimator, generated, source, seed=3)
    torch.manual_seed(2)
    assert loss_and_gradient(estimator, generated, source, seed=3)[0] == first
    assert loss_and_gradient(estimator, generated, source, seed=4)[0] != first


@pytest.mark.parametrize("name", NAMES)
def test_patches_in_bfloat16_are_retrieved_and_compared_in_float32(name):
    generated, source = patches(7).bfloat16(), BruteSource(patches(300, seed=1).float())
    estimator = make_estimator(name, neighbours=5, draws=100)
    value, _ = loss_and_gradient(estimator, generated.float(), source)
    assert loss_and_gradient(estimator, generated, source)[0] == value


# Degenerate input: each estimator has a defined result and a finite gradient.


@pytest.mark.parametrize("name", NAMES)
def test_flat_patches_and_a_flat_bank_share_every_row_evenly(name):
    source = BruteSource(torch.full((40, 12), 0.25))
    value, gradient = loss_and_gradient(make_estimator(name), torch.full((4, 12), 0.25), source)
    columns = {
        "exact": 40,
        "union": len(source.nearest(source.patches[:4], 5).unique()),
        "sparse": 5,
        "sampled": 40,
    }
    assert value == pytest.approx(np.log(columns[name]), abs=1e-4)
    assert gradient.norm() < 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_a_patch_equal_to_the_mean_has_a_bounded_gradient(name):
    source = BruteSource(patches(100, seed=1).float())
    generated = torch.cat([source.mean[None], patches(3).float()])
    value, gradient = loss_and_gradient(make_estimator(name), generated, source)
    assert np.isfinite(value)
    assert gradient[0].norm() < 1e5


@pytest.mark.parametrize("name", NAMES)
def test_exact_duplicates_are_perfect_matches(name):
    source = BruteSource(patches(100, seed=1).float())
    value, gradient = loss_and_gradient(make_estimator(name), source.patches[:5].clone(), source)
    assert value == pytest.approx(0.0, abs=1e-4)
    assert gradient.norm() < 1e-2


@pytest.mark.parametrize("name", NAMES)
def test_a_bank_smaller_than_k_is_used_whole(name):
    generated, source = patches(6), BruteSource(patches(3, seed=1))
    exact, exact_gradient = loss_and_gradient(Exact(), generated, source)
    value, gradient = loss_and_gradient(make_estimator(name), generated, source)
    assert value == pytest.approx(exact, abs=1e-9)
    torch.testing.assert_close(gradient, exact_gradient)


class Forgetful(BruteSource):
    """Finds nothing for the first `lost` patches."""

    lost = 0

    def nearest(self, patches, k):
        found = super().nearest(patches, k)
        found[: self.lost] = -1
        return found


@pytest.mark.parametrize("name", ["union", "sparse", "sampled"])
def test_patches_without_neighbours(name):
    generated, source = patches(6), Forgetful(patches(300, seed=1))
    estimator = make_estimator(name, neighbours=4, draws=100)
    source.lost = 2
    value, gradient = loss_and_gradient(estimator, generated, source)
    assert np.isfinite(value)
    assert (gradient[:2].abs().max() == 0) == (
        name == "sparse"
    )  # the others compare them with shared columns
    assert gradient[2:].abs().max() > 0
    source.lost = 6
    value, gradient = loss_and_gradient(estimator, generated, source)
    assert np.isnan(value)
    assert gradient.abs().max() == 0


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize("name", NAMES)
def test_a_broken_patch_is_left_out(name, broken):
    generated, source = patches(6), clustered()
    estimator = make_estimator(name, neighbours=4, draws=100)
    expected, expected_gradient = loss_and_gradient(estimator, generated[1:], source)
    spoilt = generated.clone()
    spoilt[0, 3] = broken
    value, gradient = loss_and_gradient(estimator, spoilt, source)
    assert value == pytest.approx(expected, abs=1e-9)
    torch.testing.assert_close(gradient[1:], expected_gradient)
    assert gradient[0].abs().max() == 0


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_broken_patches_is_nan_without_gradient(name):
    value, gradient = loss_and_gradient(make_estimator(name), torch.full((3, 12), torch.nan), clustered())
    assert np.isnan(value)
    assert gradient.abs().max() == 0


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_bank_and_no_patches_are_refused(name):
    with pytest.raises(ValueError, match="the bank has no patch"):
        make_estimator(name).prepare(patches(3), BruteSource(patches(0)), random())
    with pytest.raises(ValueError, match="at least one generated patch"):
        make_estimator(name).prepare(patches(0), BruteSource(patches(3)), random())


def test_estimators_by_name():
    assert make_estimator("exact", neighbours=3) == Exact()
    assert make_estimator("union") == Union(5)
    assert make_estimator("sparse", neighbours=7, bandwidth=0.5, epsilon=1e-3) == Sparse(
        neighbours=7, bandwidth=0.5, epsilon=1e-3
    )
    assert make_estimator("sampled", draws=10) == Sampled(32, 10)
    assert set(DEFAULT_WEIGHT) == set(NAMES)
    assert DEFAULT_WEIGHT["union"] == 0.1
    with pytest.raises(UsageError, match=r"'nearest'.*exact, union, sparse or sampled"):
        make_estimator("nearest")


@pytest.mark.parametrize(
    "wrong", [{"neighbours": 0}, {"draws": -1}, {"bandwidth": 0.0}, {"epsilon": 0.0}, {"bandwidth": np.nan}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=str(next(iter(wrong)))):
        make_estimator("sampled", **wrong)


@pytest.mark.parametrize("name", NAMES)
def test_the_reduction_reaches_every_estimator(name):
    generated, source = patches(7), BruteSource(patches(130, seed=1))
    values = [
        loss_and_gradient(
            make_estimator(name, neighbours=3, draws=20, reduction=reduction), generated, source
        )[0]
        for reduction in ("log_of_mean", "mean_of_log")
    ]
    assert 0 < values[0] < values[1]  # Jensen's inequality
