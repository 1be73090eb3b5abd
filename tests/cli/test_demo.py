"""`art2real-cli demo`: what it refuses, and one whole run of a few steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.pictures import write_photos


def _demo(*arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
        "RAY_TRAIN_METRICS_ENABLED": "0",
    }
    return subprocess.run(
        [sys.executable, "-m", "art2real.cli", "demo", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=timeout,
    )


def _refused(*arguments: str, code: int) -> str:
    result = _demo(*arguments, timeout=60)
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    return result.stderr


def test_refuses_one_folder_without_the_other(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "--photos" in _refused("--out", str(out), "--paintings", str(tmp_path), code=2)
    assert not out.exists()


def test_refuses_a_folder_that_is_not_empty_and_never_removes_what_is_not_its_own(tmp_path: Path) -> None:
    note = tmp_path / "letter.txt"
    note.write_text("dear")
    assert "not empty" in _refused("--out", str(tmp_path), code=1)
    assert "letter.txt" in _refused("--out", str(tmp_path), "--overwrite", code=1)
    assert "not empty" in _refused("--out", str(note), "--overwrite", code=1)
    assert note.read_text() == "dear"


def test_refuses_inputs_inside_of_its_own_folder(tmp_path: Path) -> None:
    inside = tmp_path / "out/samples"
    write_photos(inside, 1)
    line = _refused(
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


def test_refuses_missing_and_empty_folders_and_leaves_nothing(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2)
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    for folder, words in (("nowhere", "no such folder"), ("empty", "empty")):
        line = _refused(
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


def test_own_images_from_end_to_end(tmp_path: Path) -> None:
    write_photos(tmp_path / "paintings", 6, height=80, width=70, seed=50)
    write_photos(tmp_path / "photos", 12, height=70, width=90)
    (tmp_path / "photos/broken.jpg").write_bytes(b"no image")
    out = tmp_path / "out"
    result = _demo(
        *("--paintings", str(tmp_path / "paintings"), "--photos", str(tmp_path / "photos")),
        *("--out", str(out), "--steps", "2", "--json"),
    )
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    assert data["steps"] == 2 and data["images"] == {"photos": 12, "paintings": 5, "held_out": 1}
    assert data["distances"] == []
    assert [row["rows"] for row in data["index"]] == [12 * 81, 12 * 144, 12 * 256]
    html = Path(data["report"]).read_text(encoding="utf-8")
    assert "broken.jpg" in html and "behind one image" in html
    assert Image.open(data["picture"]).width > 200
    assert len(list((out / "translations").glob("*.png"))) == 1
    assert "Traceback" not in result.stderr
