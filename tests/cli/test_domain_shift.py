"""`art2real-cli domain-shift`, with random weights of the true network."""

from __future__ import annotations

import csv
import json

import pytest

from art2real.cli import feature_source
from art2real.cli.main import main
from tests.pictures import write_photos

NAME = "a, <b>/é"


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["domain-shift", *map(str, arguments)])
    out, err = capsys.readouterr()
    return end.value.code, out, err


def test_measures_draws_and_repeats(tmp_path, resnet_weights, capsys, ray_cluster):
    write_photos(tmp_path / "photos", 13, height=32, width=32)
    write_photos(tmp_path / "paintings", 10, height=32, width=40, seed=50)
    (tmp_path / "paintings" / "empty.jpg").touch()
    arguments = ["--real", tmp_path / "photos", "--set", f"{NAME}={tmp_path / 'paintings'}"]
    arguments += ["--network", "resnet152", "--weights", f"resnet152={resnet_weights.path}", "--any-weights"]
    arguments += ["--cache", tmp_path / "cache", "--max-images", 11]
    code, out, err = run(capsys, *arguments, "--out", tmp_path / "out", "--json")
    assert code == 0, err
    data = json.loads(out)
    assert data["photos"]["images"] == 11
    assert data["photos"]["place"] == str(tmp_path / "photos")
    assert (data["sets"][0]["name"], data["sets"][0]["images"]) == (NAME, 10)
    assert data["sets"][0]["skipped"][0]["file"] == "empty.jpg"
    assert "empty.jpg is left out" in err
    network = data["networks"][0]
    assert (network["network"], network["level"], network["dimensions"]) == ("resnet152", "pool5", 2048)
    assert network["rows"][0]["too_few_images"]
    assert "NOT the published weights" in data["warning"]
    with (tmp_path / "out" / "domain-shift.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["frechet"] == str(network["rows"][0]["frechet"])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        *(f"{kind}-resnet152.{end}" for kind in ("pca", "tsne") for end in ("png", "svg")),
        *("domain-shift.csv", "domain-shift.json", "report.html"),
    }

    # Features are kept; all else is a function of the seed.
    code, out, err = run(capsys, *arguments, "--out", tmp_path / "again")
    assert code == 0, err
    assert out.startswith("WARNING: these are NOT the published weights")
    assert NAME in out
    assert "report: " in out
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_a_plan_needs_no_work(tmp_path, resnet_weights, capsys, monkeypatch):
    monkeypatch.setattr(feature_source, "_TRIED", 2)
    write_photos(tmp_path / "photos", 13, height=32, width=32)
    write_photos(tmp_path / "x", 11, height=32, width=32)
    arguments = ["--real", tmp_path / "photos", "--set", f"x={tmp_path / 'x'}", "--out", tmp_path / "out"]
    arguments += ["--network", "resnet152", "--weights", f"resnet152={resnet_weights.path}", "--any-weights"]
    code, out, err = run(capsys, *arguments, "--max-images", 12, "--dry-run", "--json")
    assert code == 0, err
    data = json.loads(out)
    assert data["images"] == {"photos": 12, "x": 11}
    assert data["expected_seconds"] == pytest.approx(
        23 / data["images_per_second"]["resnet152"], rel=0.05, abs=1
    )
    assert not (tmp_path / "out").exists()


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    write_photos(tmp_path / "photos", 10, height=32, width=32)
    write_photos(tmp_path / "art", 10, height=32, width=32, seed=30)
    write_photos(tmp_path / "few", 9, height=32, width=32)
    (tmp_path / "void").mkdir()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("--set art", 2, "--set art: write NAME=DIR"),
        ("--set =art", 2, "--set =art: write NAME=DIR"),
        ("--set a=art --set a=few", 2, "two sets are called a"),
        ("--set a=art --set b=./art", 2, "art is given twice, as a and as b"),
        ("--set a=photos", 2, "photos is given twice, as --real and as a"),
        ("--set Real=art", 2, "--set Real: that is what the photos of --real are called"),
        ("--set photos=art", 2, "--set photos: that is what the photos of --real are called"),
        ("--set a\nb=art", 2, "--set 'a\\nb': a name is a line"),
        ("--set a=art --out art/shift", 2, "--out art/shift lies in art: its plots would count"),
        ("--set a=art --network vgg16", 2, "--network"),
        ("--set a=art --max-images 9", 2, "--max-images"),
        ("--set a=art --weights x", 2, "--weights x: write NETWORK=FILE"),
        ("", 2, "--set"),
        ("--set a=void", 1, "void: it is empty"),
        ("--set a=nowhere", 1, "nowhere: there is no such folder"),
        ("--set a=few", 1, "a (few): 9 usable images; figures of fewer than 10 would say nothing"),
        ("--set a=art", 1, "vgg19-dcbb9e9d.pth, the weights of vgg19, is not in"),
        ("--set a=art --weights vgg19=nowhere.pth", 1, "nowhere.pth: there is no such file of weights"),
    ],
)
def test_mistakes_are_one_line(folders, tmp_path, capsys, arguments, code, words):
    given = arguments.split(" ") if arguments else []
    out = [] if "--out" in given else ["--out", "out"]
    got, printed, err = run(capsys, "--real", "photos", *given, *out)
    assert got == code, err
    assert printed == ""
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_without_real_photos_it_is_wrong_use(capsys):
    code, _, err = run(capsys, "--set", "a=x", "--out", "y")
    assert code == 2
    assert "--real" in err
