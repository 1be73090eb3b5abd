"""`art2real-cli explain`."""

from __future__ import annotations

import json
import re

import pytest
from PIL import Image

from art2real.cli.main import main
from art2real.data.bank import MemoryBank
from tests.checkpoints import write_checkpoint
from tests.index.banks import NARROW, WIDE, index_bank, make_bank, request
from tests.pictures import make_photo

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    bank = make_bank(folder, photos=4)
    for scale in (WIDE, NARROW):
        index_bank(bank, scale, request("Flat"))
    write_checkpoint(folder / "weights")
    Image.fromarray(make_photo(99, 50, 41)).save(folder / "painting.png")
    Image.fromarray(make_photo(99, 3, 41)).save(folder / "tiny.png")
    return folder


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["explain", *map(str, arguments)])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


def test_it_writes_a_page_and_says_which_photos(folder, tmp_path, capsys):
    page = tmp_path / "new" / "page.html"
    code, text, errors = run(
        capsys,
        folder / "painting.png",
        *("--checkpoint", folder / "weights", "--bank", folder / "bank", "--out", page, "--regions", 60),
    )
    assert (code, errors) == (0, "")
    first, *scales = re.split(r"^scale ", text, flags=re.MULTILINE)
    assert re.fullmatch(r"\d+ regions of \d+ x \d+ pixels\n", first)
    for scale in scales:
        assert re.match(r"(8:4|4:4): drawn from [1-4] photos?, most from", scale)
        shares = [float(share) for share in re.findall(r"  ([\d.]+)%  photo-00\d\.jpg\n", scale)]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(100, abs=0.3)
    assert len(scales) == 2
    assert text.endswith(f"page: {page}\n")
    assert "painting.png" in page.read_text(encoding="utf-8")


def test_json_is_for_machines(folder, tmp_path, capsys):
    page = tmp_path / "page.html"
    options = (
        "--checkpoint",
        folder / "weights",
        "--bank",
        folder / "bank",
        "--out",
        page,
        "-k",
        2,
        "--json",
    )
    code, text, errors = run(capsys, folder / "painting.png", *options)
    assert (code, errors) == (0, "")
    data = json.loads(text)
    assert (data["page"], data["bank"]) == (str(page), str(folder / "bank"))
    assert (data["height"], data["width"]) == (50, 41)
    assert [(scale["size"], scale["stride"]) for scale in data["scales"]] == [(8, 4), (4, 4)]
    for scale in data["scales"]:
        assert len(scale["regions"]) == data["grid"]["rows"] * data["grid"]["columns"]
        assert {len(neighbours) for *_, neighbours in scale["regions"]} == {2}
    assert sum(photo["share"] for photo in data["photos"]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("image", "weights", "bank", "page", "code", "message"),
    [
        ("painting.png", "weights", "nowhere", "p.html", 1, "not a memory bank"),
        ("painting.png", "nowhere", "bank", "p.html", 1, "nowhere does not exist"),
        ("missing.png", "weights", "bank", "p.html", 1, "missing.png cannot be used: No such file"),
        ("bank/manifest.json", "weights", "bank", "p.html", 1, "cannot be used: not in an image format"),
        ("tiny.png", "weights", "bank", "p.html", 1, "has 41x3 pixels, less than the smallest patch"),
        ("painting.png", "weights", "bank", "p.pdf", 2, "end its name in .html"),
        ("painting.png", "weights", "bank", "painting.png/p.html", 1, "p.html cannot be written"),
    ],
)
def test_mistakes_are_one_line(folder, capsys, monkeypatch, image, weights, bank, page, code, message):
    monkeypatch.chdir(folder)
    ended, text, errors = run(capsys, image, "--checkpoint", weights, "--bank", bank, "--out", page)
    assert ended == code
    assert text == ""
    assert message in errors
    assert errors.count("\n") == 1
    assert not (folder / "p.html").exists()


def test_a_bank_without_index(folder, tmp_path, capsys):
    bank: MemoryBank = make_bank(tmp_path, photos=4)
    options = ("--checkpoint", folder / "weights", "--bank", bank.path, "--out", tmp_path / "p.html")
    code, _, errors = run(capsys, folder / "painting.png", *options)
    assert code == 1
    assert f"build it with `build-index {bank.path}`" in errors
