"""`art2real-cli evaluate`: from folders and a checkpoint to the table and the page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from art2real.cli import feature_source
from art2real.cli.main import main
from tests.checkpoints import write_checkpoint
from tests.pictures import write_photos


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("evaluate")
    write_photos(made / "photos", 6, seed=10)
    write_photos(made / "paintings", 4, seed=30, height=50, width=70)
    (made / "paintings" / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    write_photos(made / "one", 1)
    (made / "empty").mkdir()
    write_checkpoint(made / "checkpoint")
    return made


@pytest.fixture
def run(capsys, monkeypatch, folders, inception_weights, ray_cluster):
    monkeypatch.chdir(folders)
    weights = ["--weights", str(inception_weights.path), "--any-weights", "--cache", "cache"]

    def call(*arguments, weights=weights):
        with pytest.raises(SystemExit) as end:
            main(["evaluate", "--out", "out", *map(str, arguments), *weights])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return call


def test_sets_and_a_checkpoint_are_compared_with_photos(run, folders):
    arguments = [
        "--real",
        "photos",
        "--set",
        "Original paintings=paintings",
        "--checkpoint",
        "Ours=checkpoint",
    ]
    arguments += ["--paintings", "paintings", "--resamples", 10]
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    data = json.loads(out)
    assert [(each["set"], each["images"]) for each in data["sets"]] == [
        ("Original paintings", 4),
        ("Ours", 4),
    ]
    assert [one["level"] for one in data["sets"][0]["scores"]] == ["2048", "768", "192"]
    assert all(one["too_few_images"] for each in data["sets"] for one in each["scores"])
    assert data["sets"][0]["skipped"][0]["file"] == "broken.jpg"
    assert "Original paintings: broken.jpg is left out" in err
    assert data["weights"]["published"] is False
    assert data["sets"][0]["scores"][0]["fid"] != data["sets"][1]["scores"][0]["fid"]
    assert len(list((folders / "out" / "translated" / "Ours").glob("*.png"))) == 4
    page = (folders / "out" / "report.html").read_text()
    assert page.count("<img ") == 8  # paintings and translations side by side
    assert "broken.jpg" in page

    # The same again: features are kept, figures are the same, the text says what they are worth.
    code, out, err = run(*arguments)
    assert code == 0
    assert f"{data['sets'][1]['scores'][1]['fid']:.3g}"[:4] in out
    assert "Note: the network's weights are not the published ones" in out
    assert "report: out/report.html" in out


def test_a_dry_run_counts_and_computes_nothing(run, folders, monkeypatch):
    monkeypatch.setattr(feature_source, "_TRIED", 2)
    shutil.rmtree(folders / "out", ignore_errors=True)
    code, out, _ = run(
        "--real",
        "photos",
        "--checkpoint",
        "Ours=checkpoint",
        "--paintings",
        "paintings",
        "--dry-run",
        "--json",
    )
    assert code == 0
    assert json.loads(out)["images"] == {"photos": 6, "Ours": 5}
    assert json.loads(out)["images_per_second"] > 0
    assert not (folders / "out").exists()


PHOTOS = ("--real", "photos")


@pytest.mark.parametrize(
    ("arguments", "expected", "says"),
    [
        (PHOTOS, 2, "nothing to compare"),
        ((*PHOTOS, "--set", "paintings"), 2, "write NAME=DIR"),
        ((*PHOTOS, "--set", "A=paintings", "--set", "A=one"), 2, "two sets are called A"),
        ((*PHOTOS, "--set", "A=paintings", "--set", "B=./paintings"), 2, "is given twice, as A and as B"),
        ((*PHOTOS, "--set", "A=photos"), 2, "is given twice, as --real and as A"),
        ((*PHOTOS, "--real", "one", "--set", "A=paintings"), 2, "--real is given twice"),
        (("--real", "Monet=photos", "--set", "A=paintings"), 2, "there are no photos for A"),
        ((*PHOTOS, "--checkpoint", "Ours=checkpoint"), 2, "needs --paintings"),
        ((*PHOTOS, "--set", "A=paintings", "--resamples", "1"), 2, "--resamples 1"),
        ((*PHOTOS, "--set", "A=empty"), 1, "it is empty"),
        ((*PHOTOS, "--set", "A=nowhere"), 1, "there is no such folder"),
        ((*PHOTOS, "--set", "A=one"), 1, "A: 1 usable image;"),
        (
            (*PHOTOS, "--checkpoint", "Ours=one", "--paintings", "paintings"),
            1,
            "neither a checkpoint nor a run",
        ),
    ],
)
def test_mistakes_are_one_line_and_leave_no_figures(run, folders, arguments, expected, says):
    shutil.rmtree(folders / "out", ignore_errors=True)
    code, out, err = run(*arguments)
    assert code == expected
    assert says in err
    assert [line for line in err.splitlines() if line.startswith("art2real-cli:")] == [err.splitlines()[-1]]
    assert out == ""
    assert not (folders / "out" / "evaluation.json").exists()


def test_weights_have_to_be_the_published_ones(run, inception_weights, monkeypatch, tmp_path):
    code, _, err = run(*PHOTOS, "--set", "A=paintings", weights=["--weights", str(inception_weights.path)])
    assert code == 1
    assert "not the published weights of inception" in err
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    code, _, err = run(*PHOTOS, "--set", "A=paintings", weights=[])
    assert code == 1
    assert "weights-inception-2015-12-05-6726825d.pth" in err
    assert str(tmp_path / "hub" / "checkpoints") in err
    assert "--weights" in err
