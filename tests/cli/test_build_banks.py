"""`art2real-cli build-banks`: one real build; everything else is decided before Ray starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from art2real.cli.main import main
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.manifest import BankSettings
from tests.data.hard_files import BAD, GOOD, write_hard_folder
from tests.data.test_bank_build import contents
from tests.pictures import write_photos

COMMAND = [sys.executable, "-m", "art2real.cli", "build-banks"]


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["build-banks", *map(str, arguments)])
    out, err = capsys.readouterr()
    return end.value.code, out, err


@pytest.fixture(autouse=True)
def ray_stays_out(request, monkeypatch, tmp_path):
    """In this process nothing may get as far as starting Ray, but where a test has a cluster."""
    if "ray_cluster" not in request.fixturenames:
        monkeypatch.setattr("art2real.distributed.cluster.session", lambda *_: pytest.fail("Ray was started"))
    monkeypatch.chdir(tmp_path)


def test_a_bank_and_its_index_for_real(tmp_path, capsys, ray_cluster):
    """Odd and broken files in, JSON on standard output, progress on standard error.

    The build is a process with a cluster of its own, as a user has it; what is added comes from this process.
    """
    write_photos(tmp_path / "photos", 6)
    write_hard_folder(tmp_path / "photos/hard")
    options = ["--out", "bank", "--scale", "8:5", "--size", "48", "--json"]
    done = subprocess.run([*COMMAND, "photos", *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data["photos"] == 6 + len(GOOD)
    assert data["skipped"] == len(BAD)
    rows = data["photos"] * 81
    assert data["scales"] == [{"size": 8, "stride": 5, "patches": rows}]
    [index] = data["index"]
    assert (index["size"], index["stride"], index["rows"], index["shards"]) == (8, 5, rows, 1)
    assert index["recall_at_1"] >= index["min_recall"] or not index["min_recall_reached"]
    assert "photos: 24 of 24 in " in done.stderr
    assert "Traceback" not in done.stderr
    assert MemoryBank.open(tmp_path / "bank").rows(Scale(8, 5)) == rows

    write_photos(tmp_path / "more", 2, seed=70)
    options = ["--out", "bank", "--append", "--json"]
    code, out, err = run(capsys, "more", *options)
    assert code == 0, err
    [grown] = json.loads(out)["index"]
    assert (grown["rows"], grown["rows_added"], grown["lacks_rows"]) == (rows + 2 * 81, 2 * 81, 0)
    assert (grown["shards"], grown["factory"]) == (2, index["factory"])


@pytest.mark.parametrize("end", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGKILL])
def test_a_build_that_is_ended_resumes_to_the_same_bytes(tmp_path, end):
    originals = write_photos(tmp_path / "few", 4, height=300, width=300)
    (tmp_path / "photos").mkdir()
    for number in range(1280):
        content = originals[number % 4].read_bytes() + number.to_bytes(2, "big")  # no two files are the same
        (tmp_path / f"photos/{number:04d}.jpg").write_bytes(content)
    options = ["--out", "bank", "--scale", "8:5", "--size", "64", "--no-index"]
    process = subprocess.Popen(
        [*COMMAND, "photos", *options], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("bank/records/part-*.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(end)
    _, errors = process.communicate(timeout=60)
    if end == signal.SIGINT:
        assert process.returncode == 130, errors
        assert errors.strip().splitlines()[-1] == "art2real-cli: interrupted"
    assert not (tmp_path / "bank/manifest.json").exists()
    settings = BankSettings(image_size=64, scales=(Scale(8, 5),))
    summary = build_bank(tmp_path / "photos", tmp_path / "bank", settings, mode="resume")
    assert summary.tasks_kept >= 1
    assert summary.tasks_kept + summary.tasks_done == 5
    build_bank(tmp_path / "photos", tmp_path / "whole", settings)
    assert contents(tmp_path / "bank") == contents(tmp_path / "whole")


def test_dry_run_builds_nothing(tmp_path, capsys):
    write_photos(tmp_path / "photos", 3)
    (tmp_path / "photos/notes.txt").write_text("x")
    code, out, _ = run(capsys, "photos", "--out", "bank", "--dry-run")
    assert code == 0
    assert "up to 3 photos of 256x256 pixels, 639 kB without the index" in out
    assert "16:6  5,043" in out
    code, out, _ = run(capsys, "photos", "--out", "bank", "--dry-run", "--json")
    data = json.loads(out)
    assert (data["files"], data["not_images"], data["tasks"]) == (3, 1, 1)
    assert not (tmp_path / "bank").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere", "--out", "bank"], 1, "nowhere: there is no such file or folder"),
        (["empty", "--out", "bank"], 1, "empty: has no files"),
        (["texts", "--out", "bank"], 1, "texts: none of its 1 files looks like an image"),
        (["photos", "--out", "texts"], 1, "texts: holds other files and no memory bank"),
        (["photos", "--out", "photos/photo-000.jpg"], 1, "photos/photo-000.jpg: is a file"),
        (["photos", "--out", "built"], 1, "is a finished memory bank; go on with it (--resume), add"),
        (["photos", "--out", "built", "--resume", "--size", "64"], 1, "(image_size 64, not 32)"),
        (["photos", "--out", "built", "--resume", "--overwrite"], 2, "exclude each other"),
        (
            ["photos", "--out", "bank", "--scale", "16x6"],
            2,
            "--scale: '16x6' is not a scale; write SIZE:STRIDE",
        ),
        (["photos", "--out", "bank", "--scale", "64:8", "--size", "32"], 2, "--scale: patches of scale 64:8"),
        (["photos", "--out", "bank", "--size", "2"], 2, "--size: Input should be greater than or equal to 8"),
        (["photos", "--out", "bank", "--max-bad", "5"], 2, "--max-bad"),
        (["photos"], 2, "--out"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, arguments, code, words):
    write_photos(tmp_path / "photos", 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("x")
    build_bank(tmp_path / "photos", tmp_path / "built", BankSettings(image_size=32))
    before = contents(tmp_path)
    got, out, err = run(capsys, *arguments)
    assert got == code
    assert out == ""
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert contents(tmp_path) == before


def test_help_starts_without_heavy_packages():
    code = (
        "import sys\n"
        "from art2real.cli.main import main\n"
        "try: main(['build-banks', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'ray', 'faiss', 'pyarrow', 'pydantic'} & set(sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, env=environment)
