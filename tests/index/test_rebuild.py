from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art2real.core.scale import Scale
from art2real.index.rebuild import rebuild
from tests.pictures import make_photo


def loop(patches: np.ndarray, known: np.ndarray, scale: Scale, height: int, width: int) -> np.ndarray:
    y, x = scale.positions(height, width)
    image = np.full((y.max() + scale.size, x.max() + scale.size, 3), 128, np.uint8)
    for row, column in np.ndindex(image.shape[:2]):
        covering = [
            patch[row - top, column - left].astype(float)
            for patch, top, left, use in zip(patches, y, x, known, strict=True)
            if use and 0 <= row - top < scale.size and 0 <= column - left < scale.size
        ]
        if covering:
            image[row, column] = np.rint(np.sum(covering, axis=0) / len(covering))
    return image


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(1, 5),
    stride=st.integers(1, 6),
    more=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    seed=st.integers(0, 99),
    share=st.sampled_from([0.0, 0.6, 1.0]),
)
def test_each_pixel_is_the_mean_of_the_patches_over_it(
    size: int, stride: int, more: tuple[int, int], seed: int, share: float
) -> None:
    random = np.random.default_rng(seed)
    scale = Scale(size, stride)
    height, width = size + more[0], size + more[1]
    patches = random.integers(0, 256, (len(scale.positions(height, width)[0]), size, size, 3), dtype=np.uint8)
    known = random.random(len(patches)) < share
    rebuilt = rebuild(patches, known, scale, height, width)
    np.testing.assert_array_equal(rebuilt, loop(patches, known, scale, height, width))


def test_an_images_own_patches_give_it_back() -> None:
    image, scale = make_photo(1, 31, 26), Scale(8, 5)
    cut = torch.from_numpy(image).unfold(0, 8, 5).unfold(1, 8, 5).permute(0, 1, 3, 4, 2)
    patches = cut.reshape(-1, 8, 8, 3).numpy()
    rebuilt = rebuild(patches, np.ones(len(patches), bool), scale, 31, 26)
    np.testing.assert_array_equal(rebuilt, image[:28, :23])


@pytest.mark.parametrize(("count", "height"), [(5, 16), (0, 3)])
def test_patches_that_are_not_the_images(count: int, height: int) -> None:
    with pytest.raises(ValueError, match=f"{height}x16 has . patches at scale 8:8, got {count}"):
        rebuild(np.zeros((count, 8, 8, 3), np.uint8), np.ones(count, bool), Scale(8, 8), height, 16)
