"""The contextual loss against loops in float64 written straight from the equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art2real.core import affinity
from art2real.core.affinity import SOFTNESS, unit
from art2real.core.contextual import contextual_loss, near_far_loss, streamed_loss

EPSILON = 1e-5


def loop_loss(generated: np.ndarray, columns_of_row, mean: np.ndarray, bandwidth: float = 1.0) -> float:
    """The equations, patch by patch. `columns_of_row(i)` gives [(patch, weight), ...]."""

    def direction(v: np.ndarray) -> np.ndarray:
        return (v - mean) / np.sqrt(((v - mean) ** 2).sum() + SOFTNESS)

    best = []
    for i, patch in enumerate(generated):
        columns = columns_of_row(i)
        distance = np.array([1 - direction(patch) @ direction(real) for real, _ in columns])
        weight = np.array([count for _, count in columns])
        relative = distance / (distance.min() + EPSILON)
        share = np.exp((1 - relative) / bandwidth)
        best.append((share / (weight * share).sum()).max())
    return float(-np.log(np.mean(best)))


def patches(count: int, dimension: int = 12, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(count, dimension, generator=random, dtype=torch.float64) * 2 - 1


def numeric_gradient(loss, at: torch.Tensor, step: float = 1e-6) -> torch.Tensor:
    gradient = torch.zeros_like(at)
    for place in np.ndindex(*at.shape):
        up, down = at.clone(), at.clone()
        up[place] += step
        down[place] -= step
        gradient[place] = (loss(up) - loss(down)) / (2 * step)
    return gradient


def gradient_of(loss, at: torch.Tensor) -> tuple[float, torch.Tensor]:
    at = at.clone().requires_grad_()
    value = loss(at)
    value.backward()
    return float(value.detach()), at.grad


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 40),
    bandwidth=st.sampled_from([0.5, 1.0, 2.0]),
    seed=st.integers(0, 99),
)
def test_all_columns_match_the_equations(rows, columns, bandwidth, seed):
    generated, real = patches(rows, seed=seed), patches(columns, seed=seed + 100)
    mean = real.mean(0)
    expected = loop_loss(
        generated.numpy(), lambda i: [(m, 1.0) for m in real.numpy()], mean.numpy(), bandwidth
    )
    assert float(contextual_loss(generated, real, mean, bandwidth=bandwidth)) == pytest.approx(
        expected, abs=1e-9
    )


@pytest.mark.parametrize("rows", [1, 6])
def test_gradient_of_all_columns_is_the_slope_of_the_value(rows):
    generated, real = patches(rows), patches(30, seed=1)
    loss = lambda g: contextual_loss(g, real, real.mean(0))  # noqa: E731
    _, gradient = gradient_of(loss, generated)
    torch.testing.assert_close(gradient, numeric_gradient(loss, generated), atol=1e-6, rtol=1e-5)


def test_near_columns_only_match_the_equations_and_missing_ones_are_left_out():
    generated, real = patches(3), patches(10, seed=1)
    near = torch.tensor([[4, 2, 9], [0, -1, 1], [7, -1, -1]])
    mean = real.mean(0)

    def loss(g):
        return near_far_loss(g, real, mean, near, None, None)

    expected = loop_loss(
        generated.numpy(), lambda i: [(real[j].numpy(), 1.0) for j in near[i] if j >= 0], mean.numpy()
    )
    value, gradient = gradient_of(loss, generated)
    assert value == pytest.approx(expected, abs=1e-9)
    torch.testing.assert_close(gradient, numeric_gradient(loss, generated), atol=1e-6, rtol=1e-5)


def nearest(generated: torch.Tensor, real: torch.Tensor, mean: torch.Tensor, k: int) -> torch.Tensor:
    return (unit(generated, mean) @ unit(real, mean).T).topk(k, dim=1).indices


def test_near_and_weighted_far_columns_match_the_equations():
    generated, real = patches(5), patches(60, seed=1)
    mean = real.mean(0)
    near = nearest(generated, real, mean, 4)
    far = torch.tensor([3, 11, 40, 41, 59, int(near[0, 0]), int(near[2, 3])]).unique()
    weight = torch.linspace(1.0, 9.0, len(far), dtype=torch.float64)

    def columns_of_row(i):
        own = [(real[j].numpy(), 1.0) for j in near[i]]
        others = [(real[j].numpy(), float(w)) for j, w in zip(far, weight, strict=True) if j not in near[i]]
        return own + others

    def loss(g):
        return near_far_loss(g, real, mean, near, far, weight)

    value, gradient = gradient_of(loss, generated)
    assert value == pytest.approx(loop_loss(generated.numpy(), columns_of_row, mean.numpy()), abs=1e-9)
    torch.testing.assert_close(gradient, numeric_gradient(loss, generated), atol=1e-6, rtol=1e-5)


def test_all_rows_as_near_and_far_field_is_the_whole_matrix():
    generated, real = patches(20), patches(80, seed=1)
    mean = real.mean(0)
    near = nearest(generated, real, mean, 5)
    whole, whole_gradient = gradient_of(lambda g: contextual_loss(g, real, mean), generated)
    both, both_gradient = gradient_of(
        lambda g: near_far_loss(g, real, mean, near, torch.arange(80), None), generated
    )
    assert both == pytest.approx(whole, abs=1e-9)
    torch.testing.assert_close(both_gradient, whole_gradient)


def test_a_far_column_nearer_than_the_nearest_counts_as_that():
    generated, real = patches(4), patches(40, seed=1)
    mean = real.mean(0)
    true = nearest(generated, real, mean, 6)
    near, missed = true[:, 1:5], true[:, :1]
    far = torch.cat([missed.flatten(), torch.arange(30, 40)]).unique()
    weight = torch.full((len(far),), 50.0, dtype=torch.float64)

    def loss(g):
        return near_far_loss(g, real, mean, near, far, weight)

    value, gradient = gradient_of(loss, generated)
    assert value <= np.log(1 + 4 + 50 * len(far)) + 1e-9
    torch.testing.assert_close(gradient, numeric_gradient(loss, generated), atol=1e-6, rtol=1e-5)


def test_rows_that_the_search_missed_are_made_up_for_by_the_draws():
    """Counted as no nearer than the farthest near column, they made every loss too small."""
    generated, real = patches(4), patches(40, seed=1)
    mean = real.mean(0)
    true = nearest(generated, real, mean, 8)
    with_gaps = true[:, [0, 3, 7]]
    whole, whole_gradient = gradient_of(lambda g: contextual_loss(g, real, mean), generated)
    found, gradient = gradient_of(
        lambda g: near_far_loss(g, real, mean, with_gaps, torch.arange(40), None), generated
    )
    assert found == pytest.approx(whole, abs=1e-9)
    torch.testing.assert_close(gradient, whole_gradient)


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_streamed_blocks_equal_the_whole(block):
    generated, real = patches(20), patches(64, seed=1)
    mean = real.mean(0)
    whole, whole_gradient = gradient_of(lambda g: contextual_loss(g, real, mean), generated)
    streamed, streamed_gradient = gradient_of(
        lambda g: streamed_loss(g, lambda: iter(real.split(block)), mean), generated
    )
    assert streamed == pytest.approx(whole, abs=1e-9)
    torch.testing.assert_close(streamed_gradient, whole_gradient)


def test_many_row_blocks_equal_few(monkeypatch):
    generated, real = patches(100), patches(50, seed=1)
    near = nearest(generated, real, real.mean(0), 3)
    few, few_gradient = gradient_of(
        lambda g: near_far_loss(g, real, real.mean(0), near, torch.arange(50), None), generated
    )
    monkeypatch.setitem(affinity._ENTRIES_PER_BLOCK, "cpu", 1)
    many, many_gradient = gradient_of(
        lambda g: near_far_loss(g, real, real.mean(0), near, torch.arange(50), None), generated
    )
    assert many == pytest.approx(few, abs=1e-12)
    torch.testing.assert_close(many_gradient, few_gradient)


# Degenerate input, in float32 as in training: every result is defined and every gradient finite.


def finite_gradient(loss, at: torch.Tensor) -> tuple[float, torch.Tensor]:
    value, gradient = gradient_of(loss, at.float())
    assert gradient.isfinite().all()
    return value, gradient


def test_a_patch_equal_to_the_mean_has_a_bounded_gradient():
    real = patches(30, seed=1).float()
    mean = real.mean(0)
    generated = torch.cat([mean[None], patches(3).float()])
    value, gradient = finite_gradient(lambda g: contextual_loss(g, real, mean), generated)
    assert np.isfinite(value)
    assert gradient[0].norm() < 1e4


def test_constant_patches_on_both_sides_are_defined():
    flat = torch.full((4, 12), 0.25)
    value, gradient = finite_gradient(lambda g: contextual_loss(g, flat, flat.mean(0)), flat)
    assert value == pytest.approx(np.log(4), abs=1e-4)  # four equal columns share the row
    assert gradient.norm() < 1e-3


def test_an_exact_duplicate_is_a_perfect_match():
    real = patches(30, seed=1).float()
    value, gradient = finite_gradient(lambda g: contextual_loss(g, real, real.mean(0)), real[:5])
    assert value == pytest.approx(0.0, abs=1e-4)
    assert gradient.norm() < 1e-2


def test_identical_neighbours_give_log_k():
    real = patches(1, seed=1).float().expand(6, -1)
    value, _ = finite_gradient(lambda g: contextual_loss(g, real, torch.zeros(12)), patches(3))
    assert value == pytest.approx(np.log(6), abs=1e-5)


def test_a_single_column_is_always_the_best():
    value, gradient = finite_gradient(
        lambda g: contextual_loss(g, patches(1, seed=1).float(), torch.zeros(12)), patches(3)
    )
    assert value == 0.0
    assert gradient.abs().max() == 0.0


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_broken_generated_patch_is_left_out(broken):
    real = patches(30, seed=1).float()
    generated = patches(4).float()
    spoilt = generated.clone()
    spoilt[2, 5] = broken
    value, gradient = finite_gradient(lambda g: contextual_loss(g, real, real.mean(0)), spoilt)
    kept = generated[[0, 1, 3]]
    assert value == pytest.approx(float(contextual_loss(kept, real, real.mean(0))), abs=1e-6)
    assert gradient[2].abs().max() == 0.0
    assert gradient[[0, 1, 3]].abs().max() > 0


def test_a_broken_real_patch_is_left_out_of_every_estimator():
    generated, real = patches(4).float(), patches(30, seed=1).float()
    mean = real.mean(0)
    spoilt = torch.cat([real, torch.full((1, 12), torch.nan)])
    whole = float(contextual_loss(generated, real, mean))
    assert float(contextual_loss(generated, spoilt, mean)) == pytest.approx(whole, abs=1e-6)
    assert float(streamed_loss(generated, lambda: iter(spoilt.split(8)), mean)) == pytest.approx(
        whole, abs=1e-5
    )
    near = torch.tensor([[30, 1], [2, 3], [30, 30], [4, 5]])
    value, gradient = finite_gradient(lambda g: near_far_loss(g, spoilt, mean, near, None, None), generated)
    assert np.isfinite(value)
    assert gradient[2].abs().max() == 0.0  # its only columns are broken: nothing to say about it


def test_nothing_left_to_average_is_nan_without_gradient():
    real = patches(3, seed=1).float()
    value, gradient = finite_gradient(
        lambda g: contextual_loss(g, real, real.mean(0)), torch.full((2, 12), torch.nan)
    )
    assert np.isnan(value)
    assert gradient.abs().max() == 0.0


def test_empty_bank_and_wrong_widths_are_refused():
    with pytest.raises(ValueError, match="at least one real patch"):
        contextual_loss(patches(2), patches(0), torch.zeros(12))
    with pytest.raises(ValueError, match="at least one generated patch"):
        contextual_loss(patches(0), patches(2), torch.zeros(12))
    with pytest.raises(ValueError, match="12 values, real ones 10"):
        contextual_loss(patches(2), patches(3, 10), torch.zeros(12))


def test_autocast_does_not_reach_the_affinity():
    generated, real = patches(40, 48).float(), patches(300, 48, seed=1).float()
    mean = real.mean(0)
    plain, plain_gradient = gradient_of(lambda g: contextual_loss(g, real, mean), generated)

    def under_autocast(g):
        with torch.autocast("cpu", torch.bfloat16):
            return contextual_loss(g, real, mean)

    value, gradient = gradient_of(under_autocast, generated)
    assert value == plain
    torch.testing.assert_close(gradient, plain_gradient, atol=0, rtol=0)


@pytest.fixture
def matmul_settings():
    """The settings of matrix products, put back after the test."""
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    before = [backend.fp32_precision for backend in backends]
    yield backends
    for backend, setting in zip(backends, before, strict=True):
        backend.fp32_precision = setting


@pytest.mark.parametrize(("cuda", "cpu"), [("tf32", "bf16"), ("tf32", "ieee"), ("ieee", "tf32")])
def test_reduced_matrix_products_do_not_reach_the_affinity(matmul_settings, cuda, cpu):
    generated, real = patches(40, 48).float(), patches(300, 48, seed=1).float()
    plain, plain_gradient = gradient_of(lambda g: contextual_loss(g, real, real.mean(0)), generated)
    for backend, setting in zip(matmul_settings, (cuda, cpu), strict=True):
        backend.fp32_precision = setting
    with affinity.full_precision(generated.device):
        assert [backend.fp32_precision for backend in matmul_settings] == ["ieee", "ieee"]
    assert [backend.fp32_precision for backend in matmul_settings] == [cuda, cpu]
    value, gradient = gradient_of(lambda g: contextual_loss(g, real, real.mean(0)), generated)
    assert value == plain
    torch.testing.assert_close(gradient, plain_gradient, atol=0, rtol=0)


def test_patches_in_bfloat16_are_compared_in_float32():
    generated, real = patches(40, 48).bfloat16(), patches(300, 48, seed=1).float()
    plain, plain_gradient = gradient_of(lambda g: contextual_loss(g, real, real.mean(0)), generated.float())
    value, gradient = gradient_of(lambda g: contextual_loss(g, real, real.mean(0)), generated)
    assert value == plain
    torch.testing.assert_close(gradient, plain_gradient.bfloat16(), atol=0, rtol=0)


def test_full_precision_holds_as_long_as_any_thread_wants_it():
    """The setting is the process's: the first thread that leaves must not take it from the others."""
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32"
    first, second = (affinity.full_precision(torch.device("cpu")) for _ in range(2))
    try:
        first.__enter__()
        second.__enter__()
        assert matmul.fp32_precision == "ieee"
        first.__exit__(None, None, None)
        assert matmul.fp32_precision == "ieee"
        second.__exit__(None, None, None)
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before


def test_the_mean_of_logs_gives_every_patch_the_same_say():
    generated, real = patches(7), patches(20, seed=1)
    mean = real.mean(0)

    def loss(rows):
        return contextual_loss(rows, real, mean, reduction="mean_of_log")

    alone = torch.stack([contextual_loss(row[None], real, mean) for row in generated])
    value, gradient = gradient_of(loss, generated)
    assert value == pytest.approx(float(alone.mean()))
    assert value != pytest.approx(float(contextual_loss(generated, real, mean)))
    torch.testing.assert_close(gradient, numeric_gradient(loss, generated), rtol=1e-4, atol=1e-7)
    streamed = streamed_loss(generated, lambda: real.split(6), mean, reduction="mean_of_log")
    assert float(streamed) == pytest.approx(value)


def test_the_mean_of_logs_leaves_broken_patches_out():
    generated, real = patches(5), patches(20, seed=1)
    broken = generated.clone()
    broken[2, 3] = torch.nan
    whole = generated[[0, 1, 3, 4]]
    value, gradient = gradient_of(
        lambda rows: contextual_loss(rows, real, real.mean(0), reduction="mean_of_log"), broken
    )
    assert value == pytest.approx(float(contextual_loss(whole, real, real.mean(0), reduction="mean_of_log")))
    assert (gradient[2] == 0).all()
    assert gradient.isfinite().all()
    nothing, none = gradient_of(
        lambda rows: contextual_loss(rows, real, real.mean(0), reduction="mean_of_log"),
        torch.full_like(generated, torch.nan),
    )
    assert np.isnan(nothing)
    assert (none == 0).all()
