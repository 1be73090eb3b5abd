from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from art2real.cli.main import main
from tests.index.banks import NARROW, WIDE, index_bank, make_bank, request
from tests.pictures import make_photo


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bank")
    bank = make_bank(folder, photos=4)
    for scale in (WIDE, NARROW):
        index_bank(bank, scale, request())
    Image.fromarray(make_photo(99, 80, 60)).save(folder / "painting.png")
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


def test_it_prints_and_draws_the_nearest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = folder / "out" / "nearest.png"
    code, text, _ = run(capsys, "query", folder / "bank", folder / "painting.png", "-k", 3, "--out", picture)
    assert code == 0
    assert "scale 8:4: nearest of 484 real patches" in text
    assert text.count("photo-00") == 2 * 4 * 3
    assert Image.open(picture).format == "PNG"


def test_json_is_for_machines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = folder / "photos" / "photo-001.jpg"
    code, text, errors = run(capsys, "query", folder / "bank", photo, "--json")
    data = json.loads(text)
    assert (code, errors) == (0, "")
    assert [(scale["size"], scale["stride"]) for scale in data["scales"]] == [(8, 4), (4, 4)]
    best = data["scales"][0]["patches"][0]["neighbours"][0]
    assert (best["source"], best["similarity"]) == ("photo-001.jpg", pytest.approx(1, abs=1e-4))
    assert data["picture"] is None


@pytest.mark.parametrize(
    ("bank", "image", "options", "code", "message"),
    [
        ("nowhere", "painting.png", [], 1, "not a memory bank"),
        ("bank", "missing.png", [], 1, "missing.png cannot be used: No such file"),
        ("bank", "bank/manifest.json", [], 1, "manifest.json cannot be used: not in an image format"),
        ("bank", "painting.png", ["--out", "x.jpg"], 2, "end its name in .png"),
        ("bank", "painting.png", ["-k", "0"], 2, "-k"),
    ],
)
def test_mistakes_are_one_line(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    bank: str,
    image: str,
    options: list[str],
    code: int,
    message: str,
) -> None:
    ended, text, errors = run(capsys, "query", folder / bank, folder / image, *options)
    assert ended == code
    assert text == ""
    assert message in errors
    assert errors.count("\n") == 1


def test_a_bank_without_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank = make_bank(tmp_path, photos=4)
    code, _, errors = run(capsys, "query", bank.path, tmp_path / "photos" / "photo-000.jpg")
    assert code == 1
    assert f"build it with `build-index {bank.path}`" in errors
