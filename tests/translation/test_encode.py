"""Pixels to bytes, read back by another decoder."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from art2real.data.images import ImageLimits, decode
from art2real.errors import UsageError, UserError
from art2real.translation.encode import FORMATS, LONGEST_SIDE, MEDIA_TYPES, encode
from tests.pictures import make_photo


@given(
    arrays(
        np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)), elements=st.integers(0, 255)
    )
)
def test_png_keeps_every_value(pixels):
    assert np.array_equal(decode(encode(pixels, "png"), ImageLimits(min_side=1)), pixels)


@pytest.mark.parametrize("image_format", FORMATS)
def test_each_format_is_what_it_says(image_format):
    photo = make_photo(0, 61, 83)
    content = encode(photo, image_format)
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size, image.mode) == (image_format.upper(), (83, 61), "RGB")
        assert image.get_format_mimetype() == MEDIA_TYPES[image_format]
    assert np.abs(decode(content).astype(int) - photo).mean() < 4
    assert encode(photo, image_format) == content


@pytest.mark.parametrize("image_format", ["jpeg", "webp"])
def test_quality_is_paid_with_bytes(image_format):
    photo = make_photo(0, 64, 64)
    sizes = [len(encode(photo, image_format, quality)) for quality in (1, 50, 89, 100)]
    assert sizes == sorted(set(sizes))


def test_a_good_jpeg_keeps_colours_at_full_resolution():
    """With half of it, red stripes of one pixel on blue are one violet."""
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 255
    worst = [np.abs(decode(encode(stripes, "jpeg", each)).astype(int) - stripes).max() for each in (95, 80)]
    assert worst[0] < 30 < worst[1]


@pytest.mark.parametrize("image_format", ["jpeg", "webp"])
def test_a_side_that_the_format_cannot_hold_is_refused_and_no_shorter_one(image_format):
    longest = LONGEST_SIDE[image_format]
    assert encode(np.zeros((1, longest, 3), np.uint8), image_format)
    with pytest.raises(
        UserError, match=rf"1x{longest + 1} pixels: {image_format} holds sides up to {longest}"
    ):
        encode(np.zeros((longest + 1, 1, 3), np.uint8), image_format)


@pytest.mark.parametrize("quality", [0, 101])
def test_quality_has_bounds(quality):
    with pytest.raises(UsageError, match=f"quality {quality}: from 1 to 100"):
        encode(np.zeros((1, 1, 3), np.uint8), "jpeg", quality)
