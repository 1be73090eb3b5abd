"""The grid of regions that covers a picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from art2real.translation.regions import Regions


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 2000), st.integers(1, 12))
def test_regions_are_the_smallest_of_which_few_enough_cover_the_picture(height, width, most, least):
    grid = Regions.of(height, width, most, least)
    assert (grid.rows - 1) * grid.side < height <= grid.rows * grid.side
    assert (grid.columns - 1) * grid.side < width <= grid.columns * grid.side
    assert grid.count == grid.rows * grid.columns <= most
    assert grid.side == least or Regions(height, width, grid.side - 1).count > most


@given(st.integers(8, 90), st.integers(8, 90), st.integers(1, 400), st.integers(1, 8))
def test_each_region_has_the_patch_at_its_middle(height, width, most, size):
    grid = Regions.of(height, width, most)
    y, x = grid.patches(size)
    corners = [(top, left) for top in range(0, height, grid.side) for left in range(0, width, grid.side)]
    assert len(y) == len(x) == len(corners) == grid.count
    for place, (top, left) in enumerate(corners):
        for begin, at, length in ((top, y[place], height), (left, x[place], width)):
            assert 0 <= at <= length - size
            middle = (begin + min(begin + grid.side, length)) / 2
            # At the border the patch is moved inside, and by no more than it takes.
            wanted = min(max(middle - size / 2, 0), length - size)
            assert abs(at - wanted) <= 0.5


def test_a_giant_picture_has_no_more_regions():
    grid = Regions.of(8192, 8192, 1024)
    assert (grid.side, grid.count) == (256, 1024)
    assert Regions.of(1, 10**7, 10).columns == 10
    assert np.array_equal(Regions(4, 4, 4).patches(4), [[0], [0]])


@pytest.mark.parametrize(("height", "width", "most"), [(0, 5, 1), (5, 0, 1), (5, 5, 0)])
def test_nothing_to_divide_is_an_error(height, width, most):
    with pytest.raises(ValueError, match="must be at least 1"):
        Regions.of(height, width, most)
