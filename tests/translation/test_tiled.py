"""Images in bands: the same as in one piece, without seams."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from art2real.core.networks import ResNetGenerator, initialise
from art2real.core.patches import to_signed
from art2real.data.images import BadImage
from art2real.errors import UserError
from art2real.translation import tiled
from art2real.translation.bands import Moments
from art2real.translation.image import translate_image
from art2real.translation.pixels import padded
from art2real.translation.tiled import translate_tiled, translated_bands
from tests.pictures import make_photo

ROUNDING = 1e-4  # of values in [-1, 1]; a step of a pixel is 8e-3


def make_generator(width, blocks, seed=0):
    made = ResNetGenerator(width, blocks).eval().requires_grad_(False)
    random = torch.Generator().manual_seed(seed)
    initialise(made, random)
    for name, weight in made.named_parameters():
        if name.endswith("bias"):
            weight.normal_(0.0, 0.3, generator=random)
    return made


GENERATORS = {(width, blocks): make_generator(width, blocks) for width, blocks in [(4, 0), (4, 1), (6, 3)]}


def whole(generator, picture):
    """The padded image in one pass: `[3, H, W]`."""
    with torch.inference_mode():
        return generator(to_signed(torch.from_numpy(padded(picture)).permute(2, 0, 1)[None]))[0]


def banded(generator, picture, **options):
    return torch.cat([rows for _, rows in translated_bands(generator, picture, **options)], 2)[0]


def painting(height, width):
    """Bright and busy at the top, dark and smooth at the bottom: every band has statistics of its own."""
    light = np.linspace(1.2, 0.1, height)[:, None, None]
    return np.clip(make_photo(height + width, height, width) * light, 0, 255).astype(np.uint8)


@given(
    size=st.sampled_from(sorted(GENERATORS)),
    height=st.integers(8, 50),
    width=st.integers(8, 50),
    quarter_rows=st.integers(1, 14),
    memory=st.sampled_from([0, 2**30]),
)
@settings(max_examples=40)
def test_bands_give_what_the_whole_gives(size, height, width, quarter_rows, memory):
    picture = painting(height, width)
    # Of one colour only rounding is left, magnified: the whole pass is 0.08 away from that in float64.
    assume(picture.std() > 1)
    expected = whole(GENERATORS[size], picture)
    pixels = quarter_rows * 4 * expected.shape[2]
    got = banded(GENERATORS[size], picture, band_pixels=pixels, memory=memory)
    assert got.shape == expected.shape
    assert float((got - expected).abs().max()) < ROUNDING


@pytest.mark.parametrize("quarter_rows", [1, 3, 5, 100])
def test_bands_lie_one_below_the_other(quarter_rows):
    picture = painting(50, 21)
    starts = [
        (start, rows.shape[2])
        for start, rows in translated_bands(GENERATORS[4, 1], picture, band_pixels=quarter_rows * 4 * 24)
    ]
    rows = min(quarter_rows * 4, 52)
    assert starts == [(start, min(rows, 52 - start)) for start in range(0, 52, rows)]


def seam(got, expected, borders):
    """Mean step, in pixel values, that the error makes across the borders, and across all other rows."""
    steps = np.abs(np.diff(got.astype(float) - expected, axis=0)).mean((1, 2))
    at = np.zeros(len(steps), bool)
    at[np.asarray(borders) - 1] = True
    return steps[at].mean(), steps[~at].mean()


def test_there_is_no_seam_and_the_measure_would_see_one(one_thread):
    generator, picture = GENERATORS[6, 3], painting(96, 41)
    expected = translate_image(generator, picture)
    borders = list(range(16, 96, 16))
    got = translate_tiled(generator, picture, band_pixels=16 * 44)
    difference = np.abs(got.astype(int) - expected)
    assert difference.max() <= 1  # where rounding decides
    assert difference.mean() < 0.02
    assert max(seam(got, expected, borders)) < 0.05

    # Bands by themselves, with 24 rows of their neighbours, but statistics of their own.
    cuts = [(start, max(0, start - 24), start + 16 + 24) for start in range(0, 96, 16)]
    strips = [
        translate_image(generator, picture[first:last])[start - first :][:16] for start, first, last in cuts
    ]
    alone = np.concatenate(strips)
    assert np.abs(alone.astype(int) - expected).mean() > 1
    assert seam(alone, expected, borders)[0] > 1


def test_features_in_a_file_give_the_same_bytes(one_thread):
    picture = painting(45, 60)
    in_memory = translate_tiled(GENERATORS[6, 3], picture, band_pixels=1000)
    in_file = translate_tiled(GENERATORS[6, 3], picture, band_pixels=1000, memory=0)
    assert np.array_equal(in_memory, in_file)


def test_a_full_disk_is_one_line(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match="No space left on device; set TMPDIR to a folder with more room"):
        translate_tiled(GENERATORS[4, 1], painting(20, 20), memory=0)


def test_an_image_too_wide_for_bands_is_refused(monkeypatch):
    monkeypatch.setattr(tiled, "MAX_WIDTH", 20)
    translate_tiled(GENERATORS[4, 1], painting(20, 20))
    with pytest.raises(BadImage, match="24 pixels wide, more than 20"):
        translate_tiled(GENERATORS[4, 1], painting(20, 21))


@given(
    heights=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    width=st.integers(1, 9),
    centre=st.sampled_from([0.0, -3.0, 1000.0]),
    seed=st.integers(0, 99),
)
def test_moments_of_bands_are_those_of_the_whole(heights, width, centre, seed):
    rows = torch.randn(1, 3, sum(heights), width, generator=torch.Generator().manual_seed(seed)) + centre
    moments = Moments()
    for band in rows.split(heights, 2):
        moments.add(band)
    variance, mean = torch.var_mean(rows.double(), (0, 2, 3), correction=0)
    torch.testing.assert_close(moments.mean, mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(moments.variance, variance, rtol=1e-5, atol=1e-9)
