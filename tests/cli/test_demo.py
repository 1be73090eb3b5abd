"""`art2real-cli demo`: what it refuses, and one whole run of a few steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from art2real.cli.main import main
from tests.pictures import write_photos

Call = Callable[..., tuple[int, str, str]]
Refused = Callable[..., str]


@pytest.fixture
def demo(capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["demo", *map(str, arguments)])
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return call


@pytest.fixture
def refused(demo: Call) -> Refused:
    """What is said where nothing may begin, as one line."""

    def call(*arguments: object, code: int) -> str:
        ended, out, err = demo(*arguments)
        assert (ended, out) == (code, ""), err
        assert len(err.strip().splitlines()) == 1
        return err

    return call


def test_refuses_one_folder_without_the_other(tmp_path: Path, refused: Refused) -> None:
    out = tmp_path / "out"
    assert "--photos" in refused("--out", str(out), "--paintings", str(tmp_path), code=2)
    assert not out.exists()


def test_refuses_a_folder_that_is_not_empty_and_never_removes_what_is_not_its_own(
    tmp_path: Path, refused: Refused
) -> None:
    note = tmp_path / "letter.txt"
    note.write_text("dear")
    assert "not empty" in refused("--out", str(tmp_path), code=1)
    assert "letter.txt" in refused("--out", str(tmp_path), "--overwrite", code=1)
    assert "not empty" in refused("--out", str(note), "--overwrite", code=1)
    assert note.read_text() == "dear"


def test_refuses_inputs_inside_of_its_own_folder(tmp_path: Path, refused: Refused) -> None:
    inside = tmp_path / "out/samples"
    write_photos(inside, 1)
    line = refused(
        "--out",
        str(tmp_path / "out"),
        "--overwrite",
        "--paintings",
        str(inside),
        "--photos",
        str(inside),
        code=2,
    )
    assert "lies inside" in line
    assert len(list(inside.iterdir())) == 1


def test_refuses_missing_and_empty_folders_and_leaves_nothing(tmp_path: Path, refused: Refused) -> None:
    write_photos(tmp_path / "photos", 2)
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    for folder, words in (("nowhere", "no such folder"), ("empty", "empty")):
        line = refused(
            "--out",
            str(out),
            "--paintings",
            str(tmp_path / folder),
            "--photos",
            str(tmp_path / "photos"),
            code=1,
        )
        assert folder in line and words in line
        assert not out.exists()


@pytest.mark.usefixtures("ray_cluster")
def test_own_images_from_end_to_end(tmp_path: Path, demo: Call) -> None:
    write_photos(tmp_path / "paintings", 6, height=80, width=70, seed=50)
    write_photos(tmp_path / "photos", 12, height=70, width=90)
    (tmp_path / "photos/broken.jpg").write_bytes(b"no image")
    out = tmp_path / "out"
    own = ("--paintings", tmp_path / "paintings", "--photos", tmp_path / "photos")
    code, printed, err = demo(*own, "--out", out, "--steps", 2, "--json")
    assert code == 0, err
    data = json.loads(printed)
    assert data["steps"] == 2 and data["images"] == {"photos": 12, "paintings": 5, "held_out": 1}
    assert data["distances"] == []
    assert [row["rows"] for row in data["index"]] == [12 * 81, 12 * 144, 12 * 256]
    html = Path(data["report"]).read_text(encoding="utf-8")
    assert "broken.jpg" in html and "behind one image" in html
    assert Image.open(data["picture"]).width > 200
    assert len(list((out / "translations").glob("*.png"))) == 1
    stages = ["images", "cluster", "bank", "index", "training", "translation", "distances"]
    begun = dict.fromkeys(line.split(": ")[0] for line in err.splitlines())  # their progress says it again
    assert [name for name in begun if name in stages] == stages
