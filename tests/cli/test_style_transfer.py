"""`art2real-cli style-transfer`."""

from __future__ import annotations

import json

import pytest

from art2real.cli.main import main
from tests.evaluation.style_weights import write_style_weights
from tests.pictures import write_photos


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = write_style_weights(tmp_path_factory.mktemp("weights")).path
    yield path
    path.unlink()


@pytest.fixture
def folders(tmp_path, monkeypatch):
    write_photos(tmp_path / "photos", 1, height=32, width=40)
    write_photos(tmp_path / "paintings", 2, seed=50)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *arguments, content="photos", style="paintings", out="out"):
    with pytest.raises(SystemExit) as end:
        main(["style-transfer", "--content", content, "--style", style, "--out", out, *map(str, arguments)])
    out, err = capsys.readouterr()
    return end.value.code, out, err


@pytest.mark.usefixtures("ray_cluster")
def test_stylises_goes_on_and_says_what_it_left_out(folders, weights, capsys):
    (folders / "photos/broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (folders / "paintings/broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    options = ("--size", 32, "--steps", 5, "--weights", weights, "--any-weights", "--json")
    code, out, err = run(capsys, "--dry-run", *options)
    plan = json.loads(out)
    assert code == 0
    assert (plan["to_make"], plan["paintings"]) == (2, 2)
    assert plan["seconds_each"] > 0
    assert plan["device"] == "cpu"
    assert not (folders / "out").exists()

    code, out, err = run(capsys, *options)
    result = json.loads(out)
    assert code == 0
    assert (result["made"], result["kept"]) == (1, 0)
    assert [each["file"] for each in result["skipped"]] == ["broken.jpg"]
    assert [each["file"] for each in result["paintings_left_out"]] == ["broken.jpg"]
    assert result["weights"]["published"] is False
    assert result["settings"] == {"size": 32, "steps": 5, "style_weight": 1e5, "seed": 0}
    assert "photos/broken.jpg is left out: not in an image format" in err
    assert "paintings/broken.jpg is left out: not in an image format" in err
    assert "photos: 2 of 2" in err
    assert sorted(path.name for path in (folders / "out").iterdir()) == ["pairs.json", "photo-000.png"]

    # All but the broken photo are there; that is tried again, and nothing else.
    before = (folders / "out/photo-000.png").stat().st_mtime_ns
    code, out, err = run(capsys, *options[:-1])
    assert code == 0
    assert out == (
        "0 photos stylised into out, 1 there already, 1 left out; the weights are not the published ones\n"
    )
    assert (folders / "out/photo-000.png").stat().st_mtime_ns == before

    (folders / "photos/broken.jpg").unlink()
    code, out, err = run(capsys, *options)
    assert code == 1
    assert out == ""
    assert "was begun with other photos" in err


@pytest.mark.parametrize(
    ("folders_given", "options", "code", "words"),
    [
        ({"content": "nowhere"}, (), 1, "nowhere: there is no such folder"),
        ({"style": "empty"}, (), 1, "empty: it is empty; give a folder with images"),
        ({"out": "photos/photo-000.jpg"}, (), 1, "photo-000.jpg: is a file; choose another --out"),
        ({"out": "photos"}, (), 2, "--out photos is --content too"),
        ({}, ("--size", 8), 2, "--size 8: Input should be greater than or equal to 16"),
        ({}, ("--steps", 0), 2, "--steps 0: Input should be greater than or equal to 1"),
        ({}, ("--style-weight", "nan"), 2, "--style-weight nan: Input should be a finite number"),
        ({}, ("--style-weight", "inf"), 2, "--style-weight inf: Input should be a finite number"),
        ({}, ("--style-weight", 0), 2, "--style-weight 0.0: Input should be greater than 0"),
        ({}, ("--seed", -1), 2, "--seed -1: Input should be greater than or equal to 0"),
    ],
)
def test_mistakes_are_one_line(folders, weights, capsys, folders_given, options, code, words):
    got, out, err = run(capsys, "--weights", weights, "--any-weights", *options, **folders_given)
    assert got == code
    assert out == ""
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert not (folders / "out").exists()


def test_other_weights_have_to_be_allowed(folders, weights, capsys):
    code, _, err = run(capsys, "--weights", weights)
    assert code == 1
    assert "not the published weights of vgg19" in err
    assert "--any-weights" in err
    (folders / "nothing.safetensors").write_bytes(b"nothing at all")
    code, _, err = run(capsys, "--weights", "nothing.safetensors", "--any-weights")
    assert code == 1
    assert "cannot be read as weights" in err
    assert not (folders / "out").exists()
