"""CycleGAN's losses by hand, its image pool, and the choice of the number format."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from art2real.core.adversarial import cycle_loss, discriminator_loss, generator_loss, identity_loss
from art2real.core.pool import ImagePool
from art2real.core.precision import network_dtype


def test_losses_by_hand():
    real, generated = torch.tensor([1.0, 0.5]), torch.tensor([0.0, 0.4])
    assert float(discriminator_loss(real, generated)) == pytest.approx(0.5 * (0.25 / 2 + 0.16 / 2))
    assert float(generator_loss(generated)) == pytest.approx((1.0 + 0.36) / 2)
    assert float(cycle_loss(torch.tensor([0.5, -1.0]), torch.tensor([0.0, 1.0]))) == pytest.approx(1.25)
    assert float(identity_loss(torch.tensor([0.5, -1.0]), torch.tensor([0.0, 1.0]))) == pytest.approx(1.25)


def test_losses_of_bfloat16_are_averaged_in_float32():
    scores = torch.full((1, 1, 300, 300), 0.75, dtype=torch.bfloat16)
    for loss in (discriminator_loss(scores, scores), cycle_loss(scores, -scores), generator_loss(scores)):
        assert loss.dtype == torch.float32
    assert float(generator_loss(scores)) == pytest.approx(0.0625, rel=1e-6)


def numbered(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float32)[:, None, None, None].expand(-1, 3, 4, 4)


def numbers(images: torch.Tensor) -> list[int]:
    return [int(image.mean()) for image in images]


def test_a_pool_fills_first_and_shows_what_it_is_given():
    pool = ImagePool(3)
    assert len(pool.images) == 0
    random = np.random.default_rng(0)
    assert numbers(pool.query(numbered(1, 2), random)) == [1, 2]
    assert numbers(pool.query(numbered(3), random)) == [3]
    assert numbers(pool.images) == [1, 2, 3]
    assert random.random() == np.random.default_rng(0).random()  # no choice has been made yet


def test_a_full_pool_swaps_every_second_image_for_a_stored_one():
    pool, random = ImagePool(5), np.random.default_rng(0)
    pool.query(numbered(*range(5)), random)
    swapped, in_pool, from_where = 0, set(range(5)), set()
    for number in range(5, 1005):
        before = numbers(pool.images)
        (shown,) = numbers(pool.query(numbered(number), random))
        if shown != number:
            swapped += 1
            assert shown in in_pool
            from_where.add(before.index(shown))
            in_pool = in_pool - {shown} | {number}
        assert set(numbers(pool.images)) == in_pool
    assert 440 < swapped < 560
    assert from_where == set(range(5))


def test_what_a_pool_shows_is_not_overwritten_later():
    pool, random = ImagePool(1), np.random.default_rng(0)
    shown = [pool.query(numbered(number), random) for number in range(20)]
    at_once = [int(images.sum()) for images in shown]
    pool.images[:] = 99
    pool.query(numbered(20), random)
    assert [int(images.sum()) for images in shown] == at_once


def test_a_restored_pool_goes_on_the_same_way():
    pool = ImagePool(4)
    pool.query(numbered(*range(6)), np.random.default_rng(0))
    restored = ImagePool(4)
    restored.images = pool.images
    for seed in range(10):
        batch = numbered(10 + seed, 50 + seed)
        shown = pool.query(batch, np.random.default_rng(seed))
        assert torch.equal(shown, restored.query(batch, np.random.default_rng(seed)))
    assert torch.equal(pool.images, restored.images)


def test_a_pool_keeps_no_graph_and_a_pool_of_nothing_passes_through():
    images = numbered(1).clone().requires_grad_()
    for size in (0, 2):
        shown = ImagePool(size).query(images * 2, np.random.default_rng(0))
        assert not shown.requires_grad
        assert numbers(shown) == [2]


def test_a_pool_refuses_what_does_not_fit():
    pool = ImagePool(2)
    pool.query(numbered(1), np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"holds images of \[3, 4, 4\], got \[3, 8, 8\]"):
        pool.query(torch.zeros(1, 3, 8, 8), np.random.default_rng(0))
    with pytest.raises(ValueError, match="pool of 2"):
        pool.images = numbered(1, 2, 3)
    with pytest.raises(ValueError, match="at least 0"):
        ImagePool(-1)


@pytest.mark.parametrize(
    ("avx512", "amx", "expected"),
    [(True, False, torch.bfloat16), (False, True, torch.bfloat16), (False, False, torch.float32)],
)
def test_a_cpu_computes_in_bfloat16_where_it_has_the_instructions(monkeypatch, avx512, amx, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert network_dtype(torch.device("cpu")) == expected


def test_a_torch_that_does_not_tell_and_unknown_devices_compute_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert network_dtype(torch.device("cpu")) == torch.float32
    assert network_dtype(torch.device("mps")) == torch.float32
