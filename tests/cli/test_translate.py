"""`art2real-cli translate`."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from art2real.cli.main import main
from tests.checkpoints import write_checkpoint
from tests.pictures import write_photos

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """Runs the command in a folder with two paintings and two checkpoints."""
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "in", 2)
    write_checkpoint(tmp_path / "weights")
    write_checkpoint(tmp_path / "others", 1)

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["translate", *arguments])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return call


ONE = ("--checkpoint", "weights", "--out", "out")
TWO = ("--checkpoint", "ours=weights", "--checkpoint", "the others=others", "--out", "out")


def test_translates_and_says_what_it_left_out(run, tmp_path):
    (tmp_path / "in" / "empty.png").touch()
    code, out, err = run("in", *ONE, "--json")
    assert code == 0
    data = json.loads(out)
    assert (data["translated"], data["kept"]) == (2, 0)
    assert data["skipped"] == [{"file": f"{tmp_path}/in/empty.png", "reason": "empty: the file has no bytes"}]
    assert data["files"][0] == {"source": f"{tmp_path}/in/photo-000.jpg", "result": "out/photo-000.png"}
    assert "empty.png is left out: empty" in err
    assert len(list((tmp_path / "out").glob("*.png"))) == 2

    code, out, _ = run("in", *ONE)
    assert (code, out) == (0, "0 images translated into out, 2 there already, 1 left out\n")


def test_options_reach_the_results(run, tmp_path):
    arguments = ("in", *TWO, "--format", "jpeg", "--quality", "80", "--side-by-side")
    assert run(*arguments)[0] == 0
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.jpg"))
    folders = ("ours", "side-by-side", "the others")
    assert found == [f"{folder}/photo-00{number}.jpg" for folder in folders for number in (0, 1)]
    with Image.open(tmp_path / "out" / "side-by-side" / "photo-000.jpg") as picture:
        assert picture.size == (64 * 3 + 4, 64)
    assert json.loads(run(*arguments, "--json")[1])["translated"] == 0
    assert json.loads(run(*arguments, "--json", "--overwrite")[1])["translated"] == 2


def test_a_dry_run_counts_and_makes_nothing(run, tmp_path):
    code, out, _ = run("in", "s3://bucket/afar.png", *TWO, "--dry-run", "--json")
    assert code == 0
    data = json.loads(out)
    assert data.pop("estimated_seconds") >= 0
    assert data == {
        "to_translate": 3,
        "kept": 0,
        "large": 0,
        "pixels": 2 * 64 * 64,
        "sizes_unknown": 1,
    }
    assert not (tmp_path / "out").exists()
    run("in/photo-000.jpg", *ONE)
    text = run("in", *ONE, "--dry-run")[1]
    assert text.startswith("out: 1 image to translate, 1 there already, 0.0041 million pixels; about ")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("in", "--checkpoint", "nowhere", "--out", "out"), 1, "checkpoint nowhere does not exist"),
        (("nowhere", *ONE), 1, "nowhere: there is no such image, folder or pattern"),
        (("void", *ONE), 1, "void: it is empty"),
        (("in", *ONE, "--quality", "80"), 2, "quality 80: png keeps every value"),
        (("in", *ONE, "--checkpoint", "others"), 2, "--checkpoint weights: write NAME=weights"),
        ((*ONE,), 2, "IMAGES"),
        (("in", *ONE, "--format", "gif"), 2, "'gif' is not one of 'png', 'jpeg', 'webp'"),
        (("in", *ONE, "--quality", "0", "--format", "jpeg"), 2, "0 is not in the range 1<=x<=100"),
    ],
)
def test_mistakes_are_one_line(run, tmp_path, arguments, code, words):
    (tmp_path / "void").mkdir()
    got, out, err = run(*arguments)
    assert got == code
    assert out == ""
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
