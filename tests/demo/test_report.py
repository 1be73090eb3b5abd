"""The report: everything inside of one file, and honest words for better and worse."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from art2real.demo.charts import loss_charts
from art2real.demo.finished import Measured, measure
from art2real.demo.picture import write_picture
from art2real.demo.report import write_report
from tests.demo.made import make_finished


def test_report_needs_nothing_outside_of_itself(tmp_path: Path) -> None:
    finished = make_finished(tmp_path)
    html = write_report(finished, Image.new("RGB", (20, 10), "red")).read_text(encoding="utf-8")
    sources = re.findall(r'\b(?:src|href|xlink:href)="([^"]*)"', html)
    assert len([source for source in sources if source.startswith("data:image/png;base64,")]) == 3 * 3 + 1
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    assert not re.search(r"<(?:script|link|iframe)\b|@import|url\(\s*['\"]?(?!#)", html)
    assert html.count("<svg") == len(loss_charts(finished.stats)) == 2
    assert 'name="viewport"' in html


def test_report_tells_the_figures(tmp_path: Path) -> None:
    finished = make_finished(tmp_path)
    html = write_report(finished, None).read_text(encoding="utf-8")
    for row in finished.distances:
        assert row.name in html and f"{row.nearer} of 3" in html
    assert "1 min 16 s" in html and "12,345" in html and "CC0 1.0" in html
    assert "The real patches behind one image" not in html

    written = json.loads((tmp_path / "report.json").read_text())
    assert written["distances"][0]["after"] < written["distances"][0]["before"]
    assert written["seconds"] == {"images": 1.5, "training": 75.0}
    assert written["steps"] == 11


def test_own_images_have_no_true_photo_and_no_distances(tmp_path: Path) -> None:
    finished = make_finished(tmp_path, truth=False)
    assert finished.distances == []
    html = write_report(finished, None).read_text(encoding="utf-8")
    assert "true photo" not in html and "How far" not in html and "CC0" not in html
    assert html.count("<img") == 3 * 2


def test_names_of_files_cannot_break_the_page(tmp_path: Path) -> None:
    finished = make_finished(tmp_path)
    object.__setattr__(finished.samples, "skipped", ("<b>x</b>.png: empty",))
    html = write_report(finished, None).read_text(encoding="utf-8")
    assert "&lt;b&gt;x" in html and "<b>x" not in html


def test_measures_before_and_after(tmp_path: Path) -> None:
    finished = make_finished(tmp_path, count=4)
    pixels = measure(finished.triples)[0]
    truths = [triple.truth for triple in finished.triples if triple.truth is not None]
    expected = np.mean([np.sqrt(np.square(truth * 0.5).mean()) for truth in truths])
    assert pixels.before == pytest.approx(expected, rel=0.02)
    assert pixels.after == pytest.approx(expected / 2, rel=0.05)
    assert (pixels.nearer, pixels.count) == (4, 4)


@pytest.mark.parametrize(
    ("after", "error", "verdict"),
    [(8.0, 1.0, "nearer"), (12.0, 1.0, "farther"), (9.0, 1.5, "no clear change")],
)
def test_verdict(after: float, error: float, verdict: str) -> None:
    assert Measured("x", "y", "z", 10.0, after, error, 1, 2).verdict == verdict


def test_picture_has_a_row_for_each_kind(tmp_path: Path) -> None:
    heights = []
    for truth in (True, False):
        finished = make_finished(tmp_path / str(truth), truth=truth)
        write_picture(finished.triples, tmp_path / "demo.png")
        heights.append(Image.open(tmp_path / "demo.png").height)
    assert heights[0] - 6 == (heights[1] - 6) * 3 // 2


def test_charts_take_the_colours_of_the_page() -> None:
    charts = loss_charts([{"step": step, "losses": {"contextual": 3.0}} for step in (1, 2)])
    assert [chart.title for chart in charts] == ["Pull to real patches"]
    assert "var(--one)" in charts[0].svg and "#0102" not in charts[0].svg
    assert charts[0].svg.startswith("<svg") and "metadata" not in charts[0].svg
    assert loss_charts([]) == []
