"""Class masks: which class a patch takes, and which masks are refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from art2real.core.scale import Scale
from art2real.data.images import BadImage, ImageLimits
from art2real.data.masks import decode_mask, patch_classes


@given(
    classes=arrays(np.int32, (12, 12), elements=st.sampled_from([0, 1, 2, 700])),
    size=st.integers(1, 12),
    stride=st.integers(1, 5),
)
def test_a_patch_takes_the_class_that_covers_half_of_it(classes, size, stride):
    scale = Scale(size, stride)
    found = patch_classes(classes, scale)
    assert found.dtype == np.uint16
    for got, y, x in zip(found, *scale.positions(12, 12), strict=True):
        numbers, counts = np.unique(classes[y : y + size, x : x + size], return_counts=True)
        winners = [
            number for number, count in zip(numbers, counts, strict=True) if number and 2 * count >= size**2
        ]
        assert got == min(winners, default=0)


def encoded(mask: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    mask.save(file, kind)
    return file.getvalue()


VALUES = np.arange(20, dtype=np.uint8).reshape(4, 5)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_grey_levels_are_class_numbers(kind):
    mask = decode_mask(encoded(Image.fromarray(VALUES), kind), 5, 4, ImageLimits())
    np.testing.assert_array_equal(mask, VALUES)


def test_palette_indices_are_class_numbers_whatever_their_colours():
    image = Image.fromarray(VALUES).convert("P")
    image.putdata(VALUES.ravel().tolist())
    image.putpalette(np.random.default_rng(0).integers(0, 255, 768).tolist())
    np.testing.assert_array_equal(decode_mask(encoded(image), 5, 4, ImageLimits()), VALUES)


def test_16_bit_numbers_stay_as_they_are():
    values = VALUES.astype(np.uint16) * 1000
    mask = decode_mask(encoded(Image.fromarray(values)), 5, 4, ImageLimits())
    np.testing.assert_array_equal(mask, values)


def test_black_and_white_are_classes_0_and_1():
    mask = decode_mask(encoded(Image.fromarray(VALUES > 7)), 5, 4, ImageLimits())
    np.testing.assert_array_equal(mask, VALUES > 7)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not an image", "cannot be decoded"),
        (encoded(Image.fromarray(VALUES))[:-30], "cannot be decoded"),
        (encoded(Image.new("RGB", (5, 4))), "no class numbers"),
        (encoded(Image.new("F", (5, 4)), "TIFF"), "no class numbers"),
        (encoded(Image.fromarray(VALUES.T.copy())), "the mask has 4x5 pixels, the photo 5x4"),
    ],
)
def test_other_masks_are_refused(content, words):
    with pytest.raises(BadImage, match=words) as error:
        decode_mask(content, 5, 4, ImageLimits())
    assert error.value.cause == "bad_mask"
