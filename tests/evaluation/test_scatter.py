"""Scatter plots: who is who can be seen, and no name breaks them."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from art2real.evaluation.scatter import COLOURS, Scatter, _style, as_page_svg, as_png, as_svg

NAMES = ("photos", "_Monet, <b>ε</b> & co", "cost $5 and $6 / 日本", "x" * 60)


def scatter(names=NAMES, count=20):
    rng = np.random.default_rng(0)
    groups = tuple((name, rng.normal(size=(count, 2))) for name in names)
    return Scatter("ResNet-152 pool5: principal components", "", groups, ("component 1", "component 2"))


def texts(svg):
    return ["".join(each.itertext()) for each in ElementTree.fromstring(svg).iter() if "text" in each.tag]


def test_names_are_text_as_they_are():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a sign that the font lacks is not the user's concern
        svg = as_svg(scatter())
        page = as_page_svg(scatter())
        as_png(scatter())
    for found in (texts(svg), texts(page)):
        assert "_Monet, <b>ε</b> & co, N = 20" in found
        assert "cost $5 and $6 / 日本, N = 20" in found
        assert f"{'x' * 43}…, N = 20" in found
        assert "photos, N = 20" in found
        assert "ResNet-152 pool5: principal components" in found
        assert "component 1" in found
    assert "<b>" not in page


def test_an_svg_has_the_same_bytes_each_time():
    assert as_svg(scatter()) == as_svg(scatter())
    assert b"<dc:date>" not in as_svg(scatter())
    assert as_png(scatter()) == as_png(scatter())


def test_a_png_is_large_enough_to_read():
    image = Image.open(io.BytesIO(as_png(scatter())))
    assert min(image.size) > 800
    assert max(image.size) < 1400


def test_sets_differ_in_colour_and_shape_and_photos_lie_below():
    styles = [_style(number, 100) for number in range(57)]
    pairs = {(style["marker"], style["color"]) for style in styles}
    assert len(pairs) == 57
    assert styles[0]["zorder"] < min(style["zorder"] for style in styles[1:])
    for number in range(1, 7):  # neighbours in the legend differ in both
        assert styles[number]["marker"] != styles[number + 1]["marker"]
        assert styles[number]["color"] != styles[number + 1]["color"]
    svg = as_svg(scatter()).decode()
    first = {colour: svg.index(f"fill: {colour}") for colour in ("#8c8c8c", *COLOURS[:3])}
    assert list(first) == sorted(first, key=first.__getitem__)


def test_a_page_gives_the_colours():
    svg = as_page_svg(scatter())
    assert svg.startswith("<svg")
    assert f"fill: var(--set-0, {COLOURS[0]})" in svg
    assert "var(--ink)" in svg
    assert "#0102" not in svg


def test_many_points_are_pixels_in_the_svg():
    few, many = as_svg(scatter(count=1250)).decode(), as_svg(scatter(count=1251)).decode()
    assert "<image" not in few
    assert "data:image/png;base64," in many
    assert len(many) < len(few) / 2
    assert "photos, N = 1,251" in texts(many)


def test_tsne_has_no_ticks_and_other_weights_are_told():
    plain = replace(scatter(), axes=None, warning="NOT the published weights")
    found = texts(as_svg(plain))
    assert not [text for text in found if re.fullmatch("[−\\d.]+", text.strip())]
    assert [text for text in texts(as_svg(scatter())) if re.fullmatch("[−\\d.]+", text.strip())]
    assert "NOT the published weights" in found


@pytest.mark.parametrize("value", [0.0, 1e9])
def test_one_place_is_a_picture_too(value):
    groups = (("photos", np.full((3, 2), value)), ("x", np.full((3, 2), value)))
    assert Image.open(io.BytesIO(as_png(Scatter("t", "", groups, None)))).width > 800
