"""Squares of photos: where they lie, and that they are the photo's own pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from art2real.data.geometry import geometry
from art2real.data.images import BadImage, square
from tests.pictures import make_photo

BICUBIC, NEAREST = Image.Resampling.BICUBIC, Image.Resampling.NEAREST
SIDES = st.integers(16, 90)


def of(width, height, size=16, fit="tile", tile_stride=None, resize=False, max_pixels=10**6):
    return geometry(
        width,
        height,
        size=size,
        fit=fit,
        tile_stride=tile_stride or size,
        resize=resize,
        max_pixels=max_pixels,
    )


@given(width=SIDES, height=SIDES, stride=st.integers(1, 24))
def test_tiles_are_copies_and_lose_less_than_a_stride(width, height, stride):
    pixels = make_photo(0, height, width)
    shape = of(width, height, tile_stride=stride)
    squares = shape.squares(pixels, BICUBIC)
    assert len(squares) == len(shape.corners)
    for number, found in enumerate(squares):
        left, top, side = shape.place(number)
        assert side == 16
        np.testing.assert_array_equal(found, pixels[int(top) : int(top) + 16, int(left) : int(left) + 16])
    lefts, tops = zip(*shape.corners, strict=True)
    assert 0 <= width - (max(lefts) + 16) < stride
    assert 0 <= height - (max(tops) + 16) < stride
    assert list(shape.corners) == sorted(shape.corners, key=lambda corner: (corner[1], corner[0]))


@given(width=SIDES, height=SIDES)
def test_an_unscaled_crop_is_a_copy_of_the_centre(width, height):
    pixels = make_photo(0, height, width)
    shape = of(width, height, fit="crop")
    [found] = shape.squares(pixels, BICUBIC)
    left, top, _ = map(int, shape.place(0))
    np.testing.assert_array_equal(found, pixels[top : top + 16, left : left + 16])
    assert abs((width - 16) - 2 * left) <= 1
    assert abs((height - 16) - 2 * top) <= 1


@given(width=st.integers(4, 90), height=st.integers(4, 90))
def test_a_scaled_crop_is_that_of_every_other_use(width, height):
    photo = make_photo(0, height, width)
    shape = of(width, height, fit="crop", resize=True)
    [found] = shape.squares(photo, BICUBIC)
    np.testing.assert_array_equal(found, square(photo, 16))
    left, top, side = shape.place(0)
    assert side == pytest.approx(min(width, height))
    assert (left, top) == ((width - side) / 2, (height - side) / 2)


@given(width=SIDES, height=SIDES)
def test_scaled_tiles_are_cut_from_the_scaled_photo(width, height):
    image = Image.fromarray(make_photo(0, height, width))
    shape = of(width, height, resize=True, tile_stride=5)
    side = min(width, height)
    whole = image.resize((round(width * 16 / side), round(height * 16 / side)), BICUBIC)
    for found, (left, top) in zip(shape.squares(np.asarray(image), BICUBIC), shape.corners, strict=True):
        np.testing.assert_array_equal(found, np.asarray(whole)[top : top + 16, left : left + 16])


def test_a_mask_is_cut_like_its_photo():
    """Each pixel of the mask says where it lies, so that its squares say what they were cut from."""
    height, width = 48, 70
    where = np.arange(height * width, dtype=np.int32).reshape(height, width)
    shape = of(width, height, tile_stride=9)
    for number, found in enumerate(shape.squares(where, NEAREST)):
        left, top, _ = map(int, shape.place(number))
        np.testing.assert_array_equal(found, where[top : top + 16, left : left + 16])


@pytest.mark.parametrize("fit", ["crop", "tile"])
def test_a_photo_below_the_size_of_an_unscaled_square_is_too_small(fit):
    with pytest.raises(BadImage) as error:
        of(100, 15, fit=fit)
    assert error.value.cause == "too_small"


def test_a_thin_strip_is_not_blown_up():
    """16 x 100,000 pixels are few, but not once their shorter side has 256."""
    with pytest.raises(BadImage) as error:
        of(100_000, 16, size=256, resize=True, max_pixels=120_000_000)
    assert error.value.cause == "too_many_pixels"
    assert of(100_000, 16, size=256, fit="crop", resize=True).corners == ((0, 0),)
