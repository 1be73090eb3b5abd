"""The table of distances: figures of known Gaussians, warnings, and its forms."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from art2real.core.frechet import frechet_of_features
from art2real.errors import UserError
from art2real.evaluation.evaluate import LEVELS, TOO_FEW, as_csv, as_text, evaluate
from art2real.evaluation.grid import grid_rows
from art2real.evaluation.report import write_evaluation
from art2real.evaluation.scores import Measures, score
from art2real.evaluation.sets import ImageSet
from tests.evaluation.made_features import made_features, weights

QUICK = Measures(resamples=20, kid_subsets=20)


def evaluated(tmp_path, *, count=200, published=True, formats=None, artists=("",), measures=QUICK):
    real = {"": made_features("photos", 220, seed=1)}
    sets = []
    for artist in artists:
        for name, shift in (("Original <paintings>", 0.8), ("CycleGAN, $1$", 0.4), ("Ours", 0.1)):
            each = ImageSet(name, tmp_path / name, artist)
            sets.append((each, made_features(name, count, shift=shift, seed=len(sets) + 2, formats=formats)))
            formats = None
    return evaluate(real, sets, weights(published), measures, {"art2real": "0"})


def test_figures_of_known_gaussians(tmp_path):
    found = evaluated(tmp_path)
    for row, shift in zip(found.rows, (0.8, 0.4, 0.1), strict=True):
        for each in row.scores:
            # The means are apart by `shift` in every dimension, the covariances are the same.
            assert each.fd_infinity == pytest.approx(each.dimensions * shift**2, abs=0.12 * each.dimensions)
            assert each.fid_low <= each.fid <= each.fid_high
            assert not each.too_few
            assert each.kid_subset_size == 100
    fids = np.array([[each.fid for each in row.scores] for row in found.rows])
    assert (np.diff(fids, axis=0) < 0).all()
    kids = np.array([[each.kid for each in row.scores] for row in found.rows])
    assert (np.diff(kids, axis=0) < 0).all()
    assert found.notes == ()


def test_many_images_and_few_take_ways_that_agree():
    photos, images = made_features("photos", 90), made_features("x", 60, shift=0.5, seed=1)
    for level in LEVELS:  # more images than dimensions: from moments
        expected = frechet_of_features(photos.levels[level], images.levels[level])
        assert score(photos, images, level, QUICK).fid == pytest.approx(expected, rel=1e-6)


def test_too_few_images_are_told_in_the_table(tmp_path):
    found = evaluated(tmp_path, count=20)
    few = {each.level: each.too_few for each in found.rows[0].scores}
    assert few == {"2048": True, "768": True, "192": False}
    assert all(each.fd_infinity is None for each in found.rows[0].scores)
    text = as_text(found)
    assert "] †" in text
    assert "FD∞, against" not in text  # it would be a table of dashes
    write_evaluation(found, [], tmp_path / "out")
    assert "<h3>FD∞</h3>" not in (tmp_path / "out" / "report.html").read_text()
    assert TOO_FEW in text
    with pytest.raises(UserError, match="x: 1 usable image; a distance between sets needs 2"):
        evaluate(
            {"": made_features("photos", 9)},
            [(ImageSet("x", tmp_path), made_features("x", 1))],
            weights(),
            QUICK,
            {},
        )


def test_other_weights_and_other_formats_are_told(tmp_path):
    found = evaluated(tmp_path, published=False, formats={"JPEG": 200})
    assert "not the published ones (sha256 0123456789ab" in found.notes[0]
    assert "different formats (photos: PNG; Original <paintings>: JPEG;" in found.notes[1]
    assert all(note in as_text(found) for note in found.notes)


def test_the_same_seed_gives_the_same_figures(tmp_path):
    first, second = (evaluated(tmp_path).to_dict() for _ in range(2))
    assert first == second
    assert evaluated(tmp_path, measures=Measures(20, 20, seed=1)).to_dict() != first
    without = evaluated(tmp_path, measures=Measures(0, 20))
    assert without.rows[0].scores[0].fid_low is None
    assert "[" not in as_text(without).replace("FID [95 % interval]", "").split("KID")[0]


def test_all_forms_have_the_same_figures(tmp_path):
    found = evaluated(tmp_path, artists=("Monet", "Cézanne"))
    files = write_evaluation(found, [], tmp_path / "out")
    data = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert data == json.loads(json.dumps(found.to_dict()))
    lines = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert (tmp_path / "out" / "evaluation.csv").read_text() == as_csv(found)
    flat = [(each, one) for each in data["sets"] for one in each["scores"]]
    assert len(lines) == len(flat) == 18
    for line, (each, one) in zip(lines, flat, strict=True):
        assert (line["artist"], line["set"]) == (each["artist"], each["set"])
        assert float(line["fid"]) == one["fid"]
        assert line["too_few_images"] == str(one["too_few_images"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert set(files) == {"evaluation.json", "evaluation.csv", "report.html"}
    assert "<h2>Monet</h2>" in page
    assert "<h2>Cézanne</h2>" in page
    assert "Original &lt;paintings&gt;" in page
    assert "Original <paintings>" not in page
    assert "CycleGAN, $1$" in page
    text = as_text(found)
    assert "Cézanne, FID" in text
    for row in found.rows:
        assert f"{row.scores[0].fid:.1f}" in text
        assert f"{row.scores[0].fid:.1f}" in page
    assert "http" not in page.replace("http://www.w3.org", "")  # nothing from elsewhere


def test_images_of_one_name_stand_side_by_side(tmp_path):
    def images(folder, *names, grey=0):
        for name in names:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 30), (grey, grey, grey)).save(path)
        return ImageSet(folder, tmp_path / folder)

    paintings = images("paintings", "a.jpg", "sub/b.png", "c.png", "d.png", grey=10)
    ours = images("ours", "a.png", "sub/b.png", "c.webp", grey=200)
    photos = images("photos", "x.png", "y.png")
    rows = grid_rows([paintings, ours, photos], most=2, size=8)
    assert (
        [row.name for row in rows] == ["a", "sub/b"]
        or [row.name for row in rows] == ["a", "c"]
        or [row.name for row in rows] == ["a", "sub/b"]
    )
    assert [set(row.pictures) for row in rows] == [{"paintings", "ours"}] * 2
    assert rows[0].pictures["paintings"].shape == (8, 8, 3)
    assert rows[0].pictures["ours"].mean() == pytest.approx(200, abs=1)
    assert grid_rows([ours, photos], most=2, size=8) == []
    (tmp_path / "ours" / "a.png").write_bytes(b"no more")
    assert "a" not in [row.name for row in grid_rows([paintings, ours], most=5, size=8)]
    assert grid_rows([], most=3, size=8) == []
