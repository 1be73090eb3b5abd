from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from art2real.cli.main import main
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.manifest import BankSettings
from tests.index.banks import NARROW, WIDE, index_bank, make_bank, request
from tests.pictures import make_photo, write_photos


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
    scales = text.split("scale ")[1:]
    for scale in scales:
        neighbours, drawn = scale.split("photos most drawn from, of 4 ")
        assert neighbours.count("photo-00") == 4 * 3
        shares = [float(share) for share in re.findall(r"([\d.]+)%  photo-00\d\.jpg\n", drawn)]
        assert len(shares) == 4
        assert sum(shares) == pytest.approx(100, abs=0.2)
    assert len(scales) == 2
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
    [used, *_] = data["scales"][0]["photos"]
    assert used["source"] == "photo-001.jpg"
    assert used["share"] == pytest.approx(used["patches"] / 121, abs=1e-6)
    assert used["share"] > 0.9
    assert (used["licence"], used["attribution"]) == (None, None)
    assert len(data["scales"][0]["photos"]) == data["scales"][0]["photos_used"]


def test_who_made_the_photos_drawn_from_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_photos(tmp_path / "photos", 4, height=48, width=48)
    lines = [f"photos/photo-00{number}.jpg,CC BY 4.0,Ann {number}" for number in range(4)]
    (tmp_path / "photos.csv").write_text("\n".join(["path,licence,attribution", *lines]))
    build_bank(tmp_path / "photos.csv", tmp_path / "bank", BankSettings(image_size=48, scales=(NARROW,)))
    index_bank(MemoryBank.open(tmp_path / "bank"), NARROW, request("Flat"))
    photo, picture = tmp_path / "photos" / "photo-002.jpg", tmp_path / "nearest.png"
    _, text, _ = run(capsys, "query", tmp_path / "bank", photo, "--out", picture)
    assert re.search(r"    [\d.]+%  photos/photo-002\.jpg  CC BY 4\.0  Ann 2\n", text)
    _, text, _ = run(capsys, "query", tmp_path / "bank", photo, "--json")
    [used, *_] = json.loads(text)["scales"][0]["photos"]
    assert (used["licence"], used["attribution"]) == ("CC BY 4.0", "Ann 2")


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
