"""Paintings: the same for the same seed, like the photo, and not the photo."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from art2real.demo.painter import COLOURS, paint
from tests.pictures import make_photo


def test_same_seed_same_painting_and_another_seed_another() -> None:
    photo = make_photo(1, 48, 64)
    first = paint(photo, 7)
    assert first.shape == photo.shape and first.dtype == np.uint8
    assert np.array_equal(first, paint(photo.copy(), 7))
    assert not np.array_equal(first, paint(photo, 8))


def test_photo_is_not_changed() -> None:
    photo = make_photo(2)
    before = photo.copy()
    paint(photo, 0)
    assert np.array_equal(photo, before)


def test_keeps_the_scene_and_loses_its_detail() -> None:
    photo = make_photo(3, 96, 96)
    painted = paint(photo, 0)
    coarse = [gaussian_filter(image.mean(axis=2), 4).ravel() for image in (photo, painted)]
    assert np.corrcoef(*coarse)[0, 1] > 0.8

    fine = [image.mean(axis=2) - gaussian_filter(image.mean(axis=2), 1.5) for image in (photo, painted)]
    assert np.corrcoef(fine[0].ravel(), fine[1].ravel())[0, 1] < 0.6


def test_varnish_takes_blue_and_black() -> None:
    grey = np.tile(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (64, 1, 3))
    painted = paint(grey, 0).astype(float)
    assert painted[..., 0].mean() > painted[..., 1].mean() > painted[..., 2].mean()
    assert painted[:, :8, 0].min() > 10


def test_one_colour_and_few_pixels_can_be_painted() -> None:
    for shape in ((16, 16, 3), (8, 40, 3)):
        painted = paint(np.full(shape, 90, np.uint8), 0)
        assert painted.shape == shape
        assert painted.std() < 40
    assert COLOURS < 256


def test_refuses_what_is_no_photo() -> None:
    with pytest.raises(ValueError, match="uint8"):
        paint(np.zeros((16, 16, 3), np.float32), 0)
    with pytest.raises(ValueError, match="uint8"):
        paint(np.zeros((16, 16), np.uint8), 0)
