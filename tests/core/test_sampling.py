"""Drawing cells: every choice has its chance, and none is made that has no chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art2real.core import sampling
from art2real.core.sampling import cell_chances, choose


@settings(max_examples=50, deadline=None)
@given(
    weights=st.lists(st.sampled_from([0.0, 1e-9, 0.1, 1.0, 3.0]), min_size=1, max_size=12).filter(any),
    count=st.integers(1, 200),
    seed=st.integers(0, 99),
)
def test_choices_keep_to_the_chances(weights, count, seed):
    chance = torch.tensor(weights, dtype=torch.float64)
    places = choose(chance, count, np.random.default_rng(seed))
    assert places.shape == (count,)
    assert bool((chance[places] > 0).all())
    times = torch.bincount(places, minlength=len(weights))
    assert bool(((times - count * chance / chance.sum()).abs() < 2).all())  # stratified: never far off


def test_choices_have_the_right_expectation():
    chance = torch.tensor([0.05, 0.0, 0.45, 0.3, 0.2], dtype=torch.float64)
    random = np.random.default_rng(0)
    times = sum(torch.bincount(choose(chance, 3, random), minlength=5) for _ in range(4000))
    torch.testing.assert_close(times.double() / 12000, chance, atol=0.01, rtol=0)


class Always:
    """A generator that returns one number only."""

    def __init__(self, number):
        self.number = number

    def random(self, count):
        return np.full(count, self.number)


def test_the_ends_of_the_range_choose_no_empty_cell():
    chance = torch.tensor([0.0] + [0.1] * 10 + [0.0], dtype=torch.float64)
    assert int(choose(chance, 7, Always(np.nextafter(1.0, 0.0)))[-1]) == 10
    assert int(choose(chance, 7, Always(0.0))[0]) == 1


def chances(generated, nearest, sizes, directions, uniform=0.2, bandwidth=1.0):
    return cell_chances(
        generated,
        nearest,
        torch.zeros(generated.shape[1]),
        directions,
        torch.tensor(sizes, dtype=torch.float64),
        uniform=uniform,
        bandwidth=bandwidth,
        epsilon=1e-5,
    )


def test_a_patch_among_the_rows_of_a_cell_expects_that_cell():
    directions = torch.eye(3)
    chance = chances(torch.eye(3)[:1], torch.eye(3)[:1], [10, 10, 0], directions)
    torch.testing.assert_close(chance, torch.tensor([0.9, 0.1, 0.0], dtype=torch.float64))


def test_patches_of_no_use_leave_the_sizes_to_decide():
    even = torch.tensor([0.25, 0.0, 0.75], dtype=torch.float64)
    broken = torch.full((2, 3), torch.nan)
    for generated, nearest in [
        (broken, torch.eye(3)[:2]),
        (torch.eye(3)[:2], broken),
        (torch.zeros(0, 3),) * 2,
    ]:
        torch.testing.assert_close(chances(generated, nearest, [1, 0, 3], torch.eye(3)), even)


def test_extreme_distances_overflow_nothing():
    generated = torch.cat([torch.eye(3), -torch.eye(3)])
    chance = chances(generated, generated, [10**9, 1, 5], -torch.eye(3), bandwidth=1e-6)
    assert chance.isfinite().all()
    assert float(chance.sum()) == pytest.approx(1.0)


def test_some_of_many_patches_speak_for_all(monkeypatch):
    monkeypatch.setattr(sampling, "_MOST_VALUES", 100_000)  # each third of 2,500
    directions = torch.nn.functional.normalize(torch.randn(12, 6, generator=torch.Generator().manual_seed(0)))
    few = torch.nn.functional.normalize(torch.randn(500, 6, generator=torch.Generator().manual_seed(1)))
    many = few.repeat_interleave(5, dim=0)  # of each one at least is asked
    sizes = [10.0] * 12
    torch.testing.assert_close(
        chances(many, many, sizes, directions), chances(few, few, sizes, directions), atol=0.01, rtol=0
    )
