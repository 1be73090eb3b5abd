"""`art2real-cli export`."""

from __future__ import annotations

import json

import pytest

from art2real import load_generator
from art2real.cli.main import main
from art2real.translation import export
from tests.checkpoints import write_checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    return write_checkpoint(tmp_path / "weights")


def run(capfd, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["export", *map(str, arguments)])
    out, err = capfd.readouterr()
    return end.value.code, out, err


@pytest.mark.parametrize(
    ("export_format", "name"),
    [("safetensors", "monet"), ("torch-export", "monet.pt2"), ("onnx", "monet.onnx")],
)
def test_the_result_is_all_that_is_printed(tmp_path, checkpoint, capfd, export_format, name):
    if export_format == "onnx":
        pytest.importorskip("onnxruntime")
    out_path = tmp_path / name
    code, out, err = run(
        capfd, "--checkpoint", checkpoint, "--out", out_path, "--format", export_format, "--json"
    )
    assert (code, err) == (0, "")
    made = json.loads(out)
    assert made["path"] == str(out_path)
    assert made["greatest_difference"] < 1e-3
    assert [2, 64, 64] in made["checked"]
    file = out_path / "model.safetensors" if out_path.is_dir() else out_path
    assert made["bytes"] == file.stat().st_size


def test_people_read_one_line(tmp_path, checkpoint, capfd, monkeypatch):
    code, out, _ = run(capfd, "--checkpoint", checkpoint, "--out", tmp_path / "monet")
    assert code == 0
    assert "greatest difference to the generator 0.0e+00" in out
    assert len(out.splitlines()) == 1
    assert load_generator(tmp_path / "monet")

    unchecked = export.Exported(tmp_path / "a.onnx", 75_000, "0" * 64, None)
    monkeypatch.setattr(export, "export", lambda *_: unchecked)
    code, out, _ = run(capfd, "--checkpoint", checkpoint, "--out", tmp_path / "a.onnx", "--format", "onnx")
    assert code == 0
    assert "a.onnx: 75 kB, not checked, because onnxruntime is not installed" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--checkpoint", "nowhere", "--out", "new", "--format", "safetensors"], 1, "nowhere does not exist"),
        (["--checkpoint", "weights", "--out", "weights", "--format", "safetensors"], 2, "weights exists"),
        (["--checkpoint", "weights", "--out", "new", "--format", "onnx"], 2, "ends in .onnx"),
        (["--checkpoint", "weights", "--out", "new", "--format", "pickle"], 2, "pickle"),
    ],
)
def test_mistakes_are_one_line(tmp_path, checkpoint, capfd, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    got, out, err = run(capfd, *arguments)
    assert got == code
    assert out == ""
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["weights"]
