"""Domain shift: figures whose truth is known, and the same figures in all that is written."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from art2real.core.mmd import gaussian_kernel, median_distance, mmd_squared
from art2real.errors import UserError
from art2real.evaluation.domain_report import write_domain_shift
from art2real.evaluation.domain_shift import DomainShift, measure_shift, steps_of
from art2real.evaluation.domain_table import as_csv, as_text
from art2real.evaluation.features import Features
from art2real.evaluation.shift import HALVES, Ruler
from art2real.evaluation.subset import random_subset
from art2real.evaluation.weights import Weights

NAME = 'Monet, <b>ε</b> & "co" / 日本'


def made(name, count, *, shift=0.0, seed=0, formats="JPEG", skipped=()):
    rng = np.random.default_rng(seed)
    return Features(
        name=name,
        place=f"images/{name}",
        images=tuple(f"{at:04}.jpg" for at in range(count)),
        skipped=skipped,
        levels={"pool5": rng.normal(size=(count, 12)).astype(np.float32) + np.float32(shift)},
        settings={"formats": {formats: count}},
        sha256=tuple(f"{name}{at}" for at in range(count)),
    )


def weights(published=True):
    return Weights("resnet152", Path("x.pth"), "0123456789abcdef" * 4, published)


def measured(*, published=True, seed=0, photos=60, skipped=()):
    sets = [made(NAME, 40, shift=1.5, seed=1, skipped=skipped), made("ours", 30, shift=0.3, seed=2)]
    found = measure_shift(weights(published), made("photos", photos), sets, seed=seed)
    return DomainShift((found,), seed, None, {"art2real": "1"})


@pytest.fixture(scope="module")
def result():
    return measured(published=False, skipped=(("<i>bad</i>.jpg", "it is empty"),))


def gaussian(count, *, shift=0.0, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32) + np.float32(shift)


def test_distances_of_gaussians_are_known():
    ruler = Ruler(gaussian(1200), bandwidth=4.0, matched=600, seed=0)
    images = gaussian(1000, shift=0.75, seed=1)
    found = ruler.shift("x", images)
    assert found.frechet == pytest.approx(8 * 0.75**2, rel=0.1)
    assert found.frechet_low < 8 * 0.75**2 < found.frechet_high
    assert found.frechet_matched == pytest.approx(found.frechet, rel=0.05)
    assert 0 < found.frechet_matched_deviation < 0.3
    expected = mmd_squared(ruler.photos, images, lambda x, y: gaussian_kernel(x, y, 4.0))
    assert found.mmd.squared == pytest.approx(expected, rel=1e-9)
    assert found.mmd.p == 1 / 201
    # The best cut between Gaussians d apart tells Phi(d / 2) right; d is 0.75 times the root of 8.
    assert found.probe.accuracy == pytest.approx(0.856, abs=0.02)
    assert not found.too_few

    halves = ruler.halves()
    assert (halves.images, halves.photos) == (600, 600)
    assert halves.frechet < 0.1
    assert halves.frechet_matched < 0.1
    assert halves.mmd.p > 0.05
    assert halves.probe.low < 0.5 < halves.probe.high


def test_matched_distances_compare_where_whole_ones_do_not():
    # Sets that are all alike: the smaller one seems farther away, but not with as many images of each.
    ruler = Ruler(gaussian(400), bandwidth=4.0, matched=15, seed=0)
    small, large = (ruler.shift("x", gaussian(count, seed=count)) for count in (15, 400))
    assert small.frechet > 3 * large.frechet
    for other in (large, ruler.halves()):
        assert small.frechet_matched == pytest.approx(other.frechet_matched, rel=0.35)
        assert other.images_matched == 15


def test_all_rows_have_one_bandwidth_and_as_many_images(result):
    found = result.networks[0]
    rows = np.concatenate([of.levels["pool5"] for of in result.groups])
    assert found.bandwidth == median_distance(rows)
    assert {row.images_matched for row in (*found.rows, found.halves)} == {30}
    assert [row.set for row in found.rows] == [NAME, "ours"]
    far, near = found.rows
    assert far.frechet > near.frechet > 0
    assert far.mmd.squared > near.mmd.squared
    assert far.probe.accuracy > near.probe.accuracy
    assert found.halves.set == HALVES


def test_points_are_of_one_space(result):
    found = result.networks[0]
    for points in (found.components.points[:, :2], found.neighbourhoods.points):
        groups = found.of_each(points)
        assert [name for name, _ in groups] == ["photos", NAME, "ours"]
        assert [len(each) for _, each in groups] == [60, 40, 30]
        assert (np.concatenate([each for _, each in groups]) == points).all()
    means = [each[:, 0].mean() for _, each in found.of_each(found.components.points)]
    assert abs(means[1] - means[0]) > abs(means[2] - means[0])


def test_the_same_seed_gives_the_same_figures(tmp_path):
    first, second = measured(photos=20), measured(photos=20)
    assert first.to_dict() == second.to_dict()
    assert measured(photos=20, seed=1).to_dict()["networks"] != first.to_dict()["networks"]
    for each, folder in ((first, "a"), (second, "b")):
        write_domain_shift(each, tmp_path / folder)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_all_forms_have_the_same_figures(result, tmp_path):
    files = write_domain_shift(result, tmp_path / "out")
    plots = {f"{kind}-resnet152.{end}" for kind in ("pca", "tsne") for end in ("png", "svg")}
    assert set(files) == {*plots, "domain-shift.json", "domain-shift.csv", "report.html"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(files)
    data = json.loads(Path(files["domain-shift.json"]).read_text())
    assert data == json.loads(json.dumps(result.to_dict()))
    text = Path(files["domain-shift.csv"]).read_text()
    assert text == as_csv(result)
    lines = list(csv.DictReader(io.StringIO(text)))
    network = data["networks"][0]
    rows = [*network["rows"], network["reference"]]
    assert [line["set"] for line in lines] == [NAME, "ours", HALVES]
    for line, row in zip(lines, rows, strict=True):
        assert line["published_weights"] == "False"
        for name, value in row.items():
            assert line[name] == str(value), name
    page = Path(files["report.html"]).read_text()
    table = as_text(result)
    for row in rows:
        accuracy = f"{row['probe_accuracy']:.3f} [{row['probe_low']:.3f}, {row['probe_high']:.3f}]"
        assert accuracy in page
        assert accuracy in table
        assert f" ({row['mmd_p']:.3f})" in page


def test_the_page_holds_all_that_it_shows(result, tmp_path):
    page = Path(write_domain_shift(result, tmp_path)["report.html"]).read_text()
    sources = re.findall(r'\b(?:src|href|xlink:href)="([^"]*)"', page)
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    assert not re.search(r"<(?:script|link|iframe)\b|@import|url\(\s*['\"]?(?!#)", page)
    assert page.count("<svg") == 2
    assert "<b>ε" not in page
    assert "&lt;b&gt;ε&lt;/b&gt; &amp;" in page
    assert "&lt;i&gt;bad&lt;/i&gt;.jpg: it is empty" in page
    assert "1 file could not be used" in page


def test_other_weights_are_told_loudly(result, tmp_path):
    words = "NOT the published weights (ResNet-152 pool5: sha256 0123456789ab…)"
    assert as_text(result).startswith(f"WARNING: these are {words}")
    files = write_domain_shift(result, tmp_path)
    assert words in Path(files["report.html"]).read_text()
    assert words in json.loads(Path(files["domain-shift.json"]).read_text())["warning"]
    assert "NOT the published weights" in Path(files["tsne-resnet152.svg"]).read_text()


def test_what_spoils_figures_is_told(result):
    plain = result.networks[0]
    assert result.notes == ()
    few = replace(plain, halves=replace(plain.halves, images=12))
    assert few.halves.too_few
    shared = replace(made("x", 4, formats="PNG"), sha256=("photos1", "photos2", "a", "a"))
    notes = DomainShift((replace(few, sets=(shared,)),), 0, None, {}).notes
    assert "fewer images than dimensions" in notes[0]
    assert "different formats (photos: JPEG; x: PNG)" in notes[1]
    assert "copies of others of their set (x: 1)" in notes[2]
    assert "2 images of x are among the photos too" in notes[3]


def test_a_handful_of_images_is_refused():
    with pytest.raises(UserError, match=r"ours \(images/ours\): 9 usable images; figures of fewer than 10"):
        measure_shift(weights(), made("photos", 20), [made("ours", 9)], seed=0)


def test_steps_are_told():
    steps = []
    measure_shift(weights(), made("photos", 12), [made("x", 10)], seed=0, on_step=lambda: steps.append(1))
    assert len(steps) == steps_of(1)


def test_a_subset_is_the_same_pictures_of_sets_with_the_same_names(tmp_path):
    names = [f"in/{at}.jpg" for at in range(20)]
    for folder in ("paintings", "translated"):
        (tmp_path / folder / "in").mkdir(parents=True)
        for name in names:
            (tmp_path / folder / name).write_text(folder)
    drawn = {}
    for folder in ("paintings", "translated"):
        at = random_subset(tmp_path / folder, names, 7, seed=3, at=tmp_path / "drawn" / folder)
        drawn[folder] = sorted(path.relative_to(at) for path in at.rglob("*.jpg"))
        assert all((at / path).read_text() == folder for path in drawn[folder])
    assert len(drawn["paintings"]) == 7
    assert drawn["paintings"] == drawn["translated"]
    other = random_subset(tmp_path / "paintings", names, 7, seed=4, at=tmp_path / "other")
    assert sorted(path.relative_to(other) for path in other.rglob("*.jpg")) != drawn["paintings"]
    whole = random_subset(tmp_path / "paintings", names, 20, seed=3, at=tmp_path / "none")
    assert whole == tmp_path / "paintings"
    assert not (tmp_path / "none").exists()
