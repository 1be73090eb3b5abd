"""The distances to the true photo: zero at it, and each blind to what the others see."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from art2real.demo.distances import (
    DISTANCES,
    colour_distance,
    detail_distance,
    pixel_distance,
    spectrum,
    structure_distance,
    to_lab,
)
from tests.pictures import make_photo

PHOTO = make_photo(5, 64, 64)


def test_nothing_is_at_distance_zero_but_the_photo() -> None:
    other = make_photo(6, 64, 64)
    for distance in DISTANCES:
        assert distance.measure(PHOTO, PHOTO) == pytest.approx(0, abs=1e-9)
        assert distance.measure(other, PHOTO) > 0.1
        assert distance.measure(other, PHOTO) == pytest.approx(distance.measure(PHOTO, other))


def test_pixels_by_hand() -> None:
    assert pixel_distance(np.full((4, 4, 3), 10, np.uint8), np.full((4, 4, 3), 250, np.uint8)) == 240


def test_lab_of_known_colours() -> None:
    # CIELAB (D65) of sRGB white, red and mid grey, as tabulated.
    lab = to_lab(np.array([[255, 255, 255], [255, 0, 0], [119, 119, 119]], np.uint8))
    expected = np.array([[100, 0, 0], [53.24, 80.09, 67.20], [50.03, 0, 0]])
    np.testing.assert_allclose(lab, expected, atol=0.05)


def test_a_colour_cast_is_seen_as_colour_and_not_as_structure() -> None:
    soft = (PHOTO * 0.6 + 40).astype(np.uint8)
    cast = np.clip(soft + np.array([20, 0, -20]), 0, 255).astype(np.uint8)
    assert colour_distance(cast, soft) > 10
    assert structure_distance(cast, soft) < 0.05
    assert detail_distance(cast, soft) < 1.0


def test_a_blur_is_seen_as_detail_and_structure_and_not_as_colour() -> None:
    blurred = gaussian_filter(PHOTO.astype(float), (1.5, 1.5, 0)).astype(np.uint8)
    assert colour_distance(blurred, PHOTO) < 1.5
    assert detail_distance(blurred, PHOTO) > 3
    assert structure_distance(blurred, PHOTO) > 0.02


def test_detail_does_not_ask_where_it_lies() -> None:
    random = np.random.default_rng(0)
    first, second = (
        np.clip(random.normal(128, 30, size=(64, 64, 1)).repeat(3, axis=2), 0, 255).astype(np.uint8)
        for _ in range(2)
    )
    assert detail_distance(first, second) < 2
    assert structure_distance(first, second) > 0.9


def test_spectrum_finds_a_wave_in_its_ring() -> None:
    wave = 128 + 60 * np.sin(2 * np.pi * np.arange(64) / 4)
    image = np.tile(wave[None, :, None], (64, 1, 3)).astype(np.uint8)
    rings = spectrum(image)
    edges = np.geomspace(1 / 16, 1 / 2, 9)
    assert edges[rings.argmax()] <= 0.25 < edges[rings.argmax() + 1] + 1e-9
