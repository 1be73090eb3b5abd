"""`art2real-cli translate`."""

from __future__ import annotations

import json

import pytest
import torch

from art2real.cli.main import main
from art2real.config.tree import Networks
from art2real.core.networks import ResNetGenerator, initialise
from art2real.translation.weights import save_generator
from tests.pictures import write_photos


@pytest.fixture
def checkpoint(tmp_path):
    generator = ResNetGenerator(4, 1)
    initialise(generator, torch.Generator().manual_seed(0))
    save_generator(generator, Networks(generator_width=4, generator_blocks=1), tmp_path / "weights")
    return tmp_path / "weights"


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["translate", *map(str, arguments)])
    out, err = capsys.readouterr()
    return end.value.code, out, err


def test_translates_and_says_what_it_left_out(tmp_path, checkpoint, capsys):
    write_photos(tmp_path / "in", 2)
    (tmp_path / "in" / "empty.png").touch()
    code, out, err = run(
        capsys, tmp_path / "in", "--checkpoint", checkpoint, "--out", tmp_path / "out", "--json"
    )
    assert code == 0
    assert json.loads(out)["translated"] == 2
    assert json.loads(out)["skipped"][0]["file"].endswith("empty.png")
    assert "empty.png is left out: empty" in err
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize(
    ("image", "weights", "code", "words"),
    [
        ("in", "nowhere", 1, "checkpoint nowhere does not exist"),
        ("nowhere", "weights", 1, "nowhere: there is no such image, folder or pattern"),
        ("void", "weights", 1, "void: it is empty"),
    ],
)
def test_mistakes_are_one_line(tmp_path, checkpoint, capsys, monkeypatch, image, weights, code, words):
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "in", 1)
    (tmp_path / "void").mkdir()
    got, out, err = run(capsys, image, "--checkpoint", weights, "--out", "out")
    assert got == code
    assert out == ""
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_without_images_it_is_wrong_use(capsys):
    code, _, err = run(capsys, "--checkpoint", "x", "--out", "y")
    assert code == 2
    assert "IMAGES" in err
