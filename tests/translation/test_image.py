"""Images of any size through a generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from art2real.core.networks import ResNetGenerator, initialise
from art2real.data.images import BadImage
from art2real.translation.image import padded_size, to_pixels, translate_batch, translate_image
from art2real.translation.tiled import translate_tiled
from tests.pictures import make_photo


class Seen(torch.nn.Module):
    """Returns its input and remembers it."""

    def forward(self, images):
        self.images = images
        return images


@pytest.fixture
def generator():
    made = ResNetGenerator(4, 1).eval()
    initialise(made, torch.Generator().manual_seed(0))
    return made


@pytest.mark.parametrize(
    ("height", "width", "padded"),
    [
        (64, 64, (64, 64)),
        (65, 63, (68, 64)),
        (7, 30, (8, 32)),
        (1, 1, (8, 8)),
        (2, 101, (8, 104)),
        (3, 8, (8, 8)),
    ],
)
def test_any_size_comes_back_in_its_size(height, width, padded):
    picture = make_photo(1, height, width)
    identity = Seen()
    assert np.array_equal(translate_image(identity, picture), picture)
    assert tuple(identity.images.shape) == (1, 3, *padded)
    assert padded_size(height, width) == padded


@pytest.mark.parametrize("size", [(48, 64), (50, 61), (3, 5)])
def test_a_real_generator_keeps_the_size(generator, size):
    assert translate_image(generator, np.full((*size, 3), 90, np.uint8)).shape == (*size, 3)


def test_padding_reflects():
    catch = Seen()
    picture = make_photo(2, 8, 10)
    translate_image(catch, picture)
    got = to_pixels(catch.images)[0]
    assert np.array_equal(got, np.concatenate([picture, picture[:, [8, 7]]], axis=1))


def test_pixels_are_rounded_clipped_and_never_undefined():
    values = torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0, torch.nan]).repeat(3, 1)[None, :, None, :]
    assert to_pixels(values)[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255, 0]


def test_a_batch_gives_what_each_image_gives_alone(generator, one_thread):
    pictures = [make_photo(seed, height, width) for seed, (height, width) in enumerate([(33, 40), (36, 38)])]
    together = translate_batch(generator, pictures)
    for picture, got in zip(pictures, together, strict=True):
        assert got.shape == picture.shape
        alone = translate_image(generator, picture)
        assert np.abs(got.astype(int) - alone).max() <= 1  # rounding


def test_a_large_image_goes_through_in_bands(generator, one_thread, monkeypatch):
    sizes = []
    monkeypatch.setattr(generator.model, "forward", lambda images: sizes.append(images.shape))
    picture = make_photo(3, 40, 30)
    assert np.array_equal(
        translate_image(generator, picture, whole_pixels=1199), translate_tiled(generator, picture)
    )
    assert not sizes


def test_a_generator_of_unknown_layers_takes_no_large_image():
    picture = make_photo(3, 40, 30)
    assert np.array_equal(translate_image(Seen(), picture, whole_pixels=1200), picture)
    with pytest.raises(BadImage, match="30x40 pixels, more than 1199") as caught:
        translate_image(Seen(), picture, whole_pixels=1199)
    assert caught.value.cause == "too_many_pixels"
