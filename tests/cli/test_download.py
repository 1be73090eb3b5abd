"""`art2real-cli download` against a real web server, as a user meets it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from art2real.cli.main import main
from tests.data.downloads.server import contents, make_archive, serve, unpacked

NAME = "monet2photo"
ARCHIVE = make_archive()
SHA256 = hashlib.sha256(ARCHIVE).hexdigest()
COMMAND = [sys.executable, "-m", "art2real.cli", "download", NAME, "--from"]


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server():
    with serve(ARCHIVE) as running:
        yield running


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["download", *map(str, arguments)])
    out, err = capsys.readouterr()
    return end.value.code, out, err


def test_a_set_by_name(capsys, server, tmp_path):
    code, out, _ = run(capsys, NAME, "--from", server.url, "--json")
    assert code == 0
    assert json.loads(out) == {
        "name": NAME,
        "path": f"datasets/{NAME}",
        "url": f"{server.url}/{NAME}.zip",
        "bytes": len(ARCHIVE),
        "sha256": SHA256,
        "files": 6,
        "downloaded": True,
    }
    assert contents(tmp_path / "datasets" / NAME) == unpacked(ARCHIVE)
    code, again, _ = run(capsys, NAME, "--from", server.url, "--json")
    assert code == 0
    assert json.loads(again) == {**json.loads(out), "downloaded": False}
    assert len(server.asked) == 1


def test_what_people_read(capsys, server):
    code, out, err = run(capsys, NAME, "--from", server.url, "--out", "sets")
    assert code == 0
    assert out.startswith(f"downloaded sets/{NAME}, 6 files\nfrom    {server.url}/{NAME}.zip, ")
    assert f"SHA-256 {SHA256}\nrecord  sets/{NAME}.json\n" in out
    assert "files unpacked: 6 of 6" in err
    code, out, err = run(capsys, NAME, "--out", "sets")
    assert (code, err) == (0, "")
    assert out.startswith(f"there already, nothing downloaded: sets/{NAME}, 6 files\nfrom    {server.url}")


def test_a_set_without_a_record_is_told_so(capsys, tmp_path):
    (tmp_path / "datasets" / NAME).mkdir(parents=True)
    code, out, _ = run(capsys, NAME)
    assert code == 0
    assert out == (f"there already, nothing downloaded: datasets/{NAME}, without a record of its download\n")
    code, _, err = run(capsys, NAME, "--sha256", SHA256)
    assert code == 1
    assert err == (
        f"art2real-cli: datasets/{NAME}: has no record, so --sha256 is not fulfilled; "
        "move it away and try again\n"
    )


def test_verify(capsys, server, tmp_path):
    run(capsys, NAME, "--from", server.url)
    code, out, _ = run(capsys, NAME, "--verify")
    assert (code, out) == (0, "verified: every file is as it was unpacked\n")
    (tmp_path / "datasets" / NAME / "testA/00002.jpg").write_bytes(b"damaged")
    code, out, _ = run(capsys, NAME, "--verify")
    assert code == 1
    assert out.splitlines()[:2] == ["missing or damaged:", f"  datasets/{NAME}/testA/00002.jpg"]
    code, out, _ = run(capsys, NAME, "--verify", "--json")
    assert (code, json.loads(out)["damaged"]) == (1, ["testA/00002.jpg"])


def test_dry_run_writes_nothing(capsys, server, tmp_path):
    code, out, _ = run(capsys, NAME, "--from", server.url, "--dry-run")
    assert code == 0
    assert out == (
        f"would download {server.url}/{NAME}.zip, of {len(ARCHIVE):,} bytes, "
        f"and unpack it into datasets/{NAME}\n"
    )
    with serve(b"") as closed:
        address = closed.url
    code, out, _ = run(capsys, NAME, "--from", address, "--dry-run", "--json")
    assert code == 0
    assert json.loads(out)["bytes"] is None
    assert not list(tmp_path.iterdir())


def test_no_network_is_one_line(capsys):
    with serve(b"") as closed:
        address = closed.url
    code, out, err = run(capsys, NAME, "--from", address)
    assert (code, out) == (1, "")
    assert err == (
        f"art2real-cli: {address}/{NAME}.zip: cannot be reached: Connection refused; "
        f"use --from URL for a mirror, or unpack {NAME}.zip into datasets yourself\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["no_such_set"],
        [NAME, "--from", "ftp://host"],
        [NAME, "--sha256", "abc"],
        [NAME, "--sha256", "g" * 64],
        [NAME, "--verify", "--dry-run"],
        [NAME, "--verify", "--overwrite"],
    ],
)
def test_wrong_use_is_one_line(capsys, arguments, tmp_path):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("art2real-cli: ")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_set_is_not_overwritten(capsys, server, tmp_path):
    run(capsys, NAME, "--from", server.url)
    code, _, err = run(capsys, NAME, "--from", server.url, "--overwrite")
    assert code == 1
    assert err == f"art2real-cli: datasets/{NAME}: is there already; move it away to download it anew\n"
    (tmp_path / "datasets/cezanne2photo").write_bytes(b"")
    code, _, err = run(capsys, "cezanne2photo")
    assert code == 1
    assert "datasets/cezanne2photo: is a file" in err


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_an_ended_process_is_gone_on_with(capsys, server, tmp_path, end):
    server.stall_at = 50_000
    process = subprocess.Popen([*COMMAND, server.url], stderr=subprocess.PIPE, text=True)
    part = tmp_path / f"datasets/.{NAME}.zip.part"
    deadline = time.monotonic() + 60
    while not part.exists() or part.stat().st_size < 50_000:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    code, _, err = run(capsys, NAME, "--from", server.url)
    assert code == 1
    assert "another process is downloading it" in err
    os.kill(process.pid, end)
    _, err = process.communicate(timeout=30)
    if end == signal.SIGINT:
        assert process.returncode == 130
        assert "what has arrived is kept, and the same command goes on with it\n" in err
        assert err.endswith("art2real-cli: interrupted\n")
        assert "Traceback" not in err
    assert not (tmp_path / "datasets" / NAME).exists()
    server.stall_at = None
    code, _, _ = run(capsys, NAME, "--from", server.url)
    assert code == 0
    assert server.ranges == [None, "bytes=50000-"]
    assert contents(tmp_path / "datasets" / NAME) == unpacked(ARCHIVE)
