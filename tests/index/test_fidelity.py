from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import art2real.index.fidelity as fidelity
from art2real.core.estimators import PatchSource, make_estimator
from art2real.core.patches import extract, to_signed
from art2real.core.scale import Scale
from art2real.index.fidelity import compare, generator_like
from tests.core.brute_source import BruteSource
from tests.index.banks import make_bank
from tests.pictures import make_photo

SCALE = Scale(8, 4)


@pytest.fixture(scope="module")
def source() -> BruteSource:
    photos = np.stack([make_photo(number, 48, 48) for number in range(40)])
    images = to_signed(torch.from_numpy(photos)).permute(0, 3, 1, 2)
    return BruteSource(extract(images, SCALE.size, SCALE.stride).flatten(0, 1), block=1000)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.stack([make_photo(number, 32, 40) for number in (90, 91)])


def alone(
    name: str, source: PatchSource, image: np.ndarray, places: np.ndarray
) -> tuple[float, torch.Tensor]:
    """The loss of an image over its patches `places`, put together from each alone, and the gradient."""
    signed = to_signed(torch.from_numpy(image)).permute(2, 0, 1)[None].requires_grad_()
    patches = extract(signed, SCALE.size, SCALE.stride)[0]
    loss = make_estimator(name).prepare(patches, source, np.random.default_rng(0))
    only = torch.full_like(patches, torch.nan)
    affinities = []
    for place in places.tolist():
        one = only.clone()
        one[place] = patches[place]
        affinities.append((-loss(one)).exp())
    value = -torch.stack(affinities).mean().log()
    value.backward()
    assert signed.grad is not None
    return float(value.detach()), signed.grad


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.cosine_similarity(one.flatten(), other.flatten(), dim=0))


@pytest.mark.parametrize("work", [1e12, 0])
def test_each_figure_is_that_of_the_estimator_alone(
    source: BruteSource, images: np.ndarray, monkeypatch: pytest.MonkeyPatch, work: float
) -> None:
    monkeypatch.setattr(fidelity, "_WORK", work)
    compared = compare(source, SCALE, images, seed=3)
    signed = to_signed(torch.from_numpy(images)).permute(0, 3, 1, 2)
    chosen = fidelity._choose(source, SCALE, signed, 3)[0].numpy()
    assert (compared.compared, compared.patches) == (63 if work else 16, 63)
    # A quarter of the patches has most of the gradient, and is chosen for it.
    assert compared.gradient_share == 1 if work else 0.5 < compared.gradient_share < 1
    assert [each.name for each in compared.estimators] == ["exact", "union", "sparse", "sampled"]
    places = [np.flatnonzero(some) for some in chosen]
    exact = [alone("exact", source, *each) for each in zip(images, places, strict=True)]
    for each in compared.estimators[:3]:  # `sampled` draws
        own = [alone(each.name, source, *both) for both in zip(images, places, strict=True)]
        assert each.loss == pytest.approx(np.mean([loss for loss, _ in own]), abs=1e-4)
        errors = [abs(mine[0] - true[0]) for mine, true in zip(own, exact, strict=True)]
        assert each.loss_error == pytest.approx(np.mean(errors), abs=1e-4)
        cosines = [cosine(mine[1], true[1]) for mine, true in zip(own, exact, strict=True)]
        assert each.gradient_cosine == pytest.approx(np.mean(cosines), abs=1e-4)
        assert each.seconds > 0


def test_the_order_of_the_estimators_is_the_papers_and_ours(source: BruteSource, images: np.ndarray) -> None:
    exact, union, sparse, sampled = compare(source, SCALE, images).estimators
    assert exact.loss_error == 0
    assert exact.gradient_cosine == pytest.approx(1)
    assert sampled.gradient_cosine > union.gradient_cosine > sparse.gradient_cosine
    assert sampled.loss_error < union.loss_error < sparse.loss_error


def test_an_image_of_real_patches_has_no_gradient_and_no_nan(source: BruteSource) -> None:
    compared = compare(source, SCALE, make_photo(5, 48, 48)[None])
    for each in compared.estimators:
        assert each.loss == pytest.approx(0, abs=0.01)
        assert np.isfinite([each.gradient_cosine, each.loss_error]).all()


def test_progress_grows_to_one(source: BruteSource, images: np.ndarray) -> None:
    parts: list[float] = []
    compare(source, SCALE, images, on_part=parts.append)
    assert parts == sorted(parts)
    assert 0 < parts[0] < 0.2
    assert parts[-1] == pytest.approx(1)


def test_made_images_are_soft_and_none_of_the_banks(tmp_path: Path) -> None:
    bank = make_bank(tmp_path, photos=4)
    made = generator_like(bank, 3)
    assert (made.shape, made.dtype) == ((3, 48, 48, 3), np.uint8)
    np.testing.assert_array_equal(made, generator_like(bank, 3))
    photos = np.stack([photo.pixels for photo in bank.photos]).astype(int)
    for image in made.astype(int):
        mirrored = np.abs(photos[:, :, ::-1] - image).mean(axis=(1, 2, 3))
        assert mirrored.min() < 12  # still the photo
        assert np.abs(photos - image).mean(axis=(1, 2, 3)).min() > mirrored.min() + 5
        rough = np.abs(np.diff(photos[mirrored.argmin()], axis=1)).mean()
        assert np.abs(np.diff(image, axis=1)).mean() < 0.8 * rough
    assert len(generator_like(bank, 9)) == 4
