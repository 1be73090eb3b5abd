"""`art2real-cli serve`: mistakes are said before anything starts; a real start, requests, and the stop."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
from click.testing import CliRunner
from PIL import Image

from art2real.cli.named import parse_named
from art2real.cli.serve import command
from art2real.errors import UsageError, UserError
from tests.checkpoints import write_checkpoint
from tests.pictures import make_photo


@pytest.fixture
def checkpoint(tmp_path):
    return write_checkpoint(tmp_path / "weights")


def fails(*arguments):
    result = CliRunner().invoke(command, [str(each) for each in arguments])
    assert isinstance(result.exception, UserError), result.output
    return str(result.exception)


def test_mistakes_are_said_before_a_cluster_starts(tmp_path, checkpoint):
    assert "does not exist" in fails("--checkpoint", tmp_path / "none")
    assert "not a memory bank" in fails("--checkpoint", checkpoint, "--bank", tmp_path)
    assert "--queue 0" in fails("--checkpoint", checkpoint, "--queue", 0)
    assert "--cors" in fails("--checkpoint", checkpoint, "--cors", "example.org")
    assert "cannot be read" in fails("--checkpoint", checkpoint, "--token-file", tmp_path / "none")
    (tmp_path / "token").write_text("\n")
    assert "is empty" in fails("--checkpoint", checkpoint, "--token-file", tmp_path / "token")
    assert "write NAME=" in fails("--checkpoint", checkpoint, "--checkpoint", checkpoint)


def test_named_options(tmp_path):
    assert parse_named(["runs/a"], "--x", "model") == {"model": "runs/a"}
    assert parse_named(["a=runs/a", "b = c=d"], "--x", "model") == {"a": "runs/a", "b": " c=d"}
    (tmp_path / "a=b").mkdir()
    assert parse_named([f"{tmp_path}/a=b"], "--x", "model") == {"model": f"{tmp_path}/a=b"}
    for wrong in (["=x"], ["a="], ["a=1", "a=2"], ["../a=1", "b=2"], ["a", "b"], ["a\nb=1", "b=2"]):
        with pytest.raises(UsageError):
            parse_named(wrong, "--x", "model")


def test_it_serves_until_it_is_told_to_stop_and_finishes_what_it_began(tmp_path, checkpoint):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "access.jsonl"
    options = ["--checkpoint", checkpoint, "--port", port, "--access-log", log]
    # Ray's settings of the other tests are not those of a user.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["ART2REAL_TOKEN"] = "open-sesame"
    process = subprocess.Popen(
        [sys.executable, "-m", "art2real.cli", "serve", *map(str, options)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        line = process.stderr.readline()
        assert line == f"serving model at http://127.0.0.1:{port}/ (Ctrl-C stops)\n"
        url = f"http://127.0.0.1:{port}"
        assert httpx.get(f"{url}/").status_code == 200
        out = io.BytesIO()
        Image.fromarray(make_photo(0, 1400, 1300)).save(out, format="PNG", compress_level=1)
        assert httpx.post(f"{url}/v1/translate", content=out.getvalue()).status_code == 401
        # Half of a request is there when it is told to stop, the other half comes later.
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.putrequest("POST", "/v1/translate?format=webp")
        for name, value in (
            ("Authorization", "Bearer open-sesame"),
            ("Content-Type", "image/png"),
            ("Content-Length", str(len(out.getvalue()))),
        ):
            connection.putheader(name, value)
        connection.endheaders()
        half = len(out.getvalue()) // 2
        connection.send(out.getvalue()[:half])
        time.sleep(1.0)
        process.send_signal(signal.SIGTERM)
        time.sleep(1.5)
        connection.send(out.getvalue()[half:])
        answer = connection.getresponse()
        assert answer.status == 200
        assert Image.open(io.BytesIO(answer.read())).size == (1300, 1400)
        rest = process.communicate(timeout=60)[1]
        assert process.returncode == 0
        assert rest == "stopping: requests under way are finished\n"
        lines = [json.loads(each) for each in log.read_text().splitlines()]
        # Before it says that it serves, the command asks whether the model answers.
        assert {each["path"] for each in lines[:-3]} == {"/health/ready"}
        assert [each["status"] for each in lines[-3:]] == [200, 401, 200]
    finally:
        process.kill()
