"""A Ray cluster as users start it, `ray start --head`, with a token, and jobs that are submitted to it."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
_RAY = str(Path(sys.executable).with_name("ray"))
# Options of `ray start` that name a port. 10002 to 19999 are the workers' where nothing else is said.
_PORTS = (
    "--port",
    "--dashboard-port",
    "--ray-client-server-port",
    "--dashboard-agent-listen-port",
    "--dashboard-agent-grpc-port",
    "--metrics-export-port",
    "--node-manager-port",
    "--object-manager-port",
    "--runtime-env-agent-port",
)
_WORKER_PORTS = 200


@dataclass(frozen=True)
class Head:
    """A running head node."""

    address: str
    """Of its dashboard, which takes jobs."""
    environment: dict[str, str]

    def ray(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `ray`, in the root of the checkout."""
        return subprocess.run(
            [_RAY, *arguments], env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=400
        )

    def submit(self, *entry: str, options: tuple[str, ...] = ()) -> tuple[int, list[dict[str, Any]]]:
        """Submits a job with the checkout as its working folder and waits: exit code, events."""
        done = self.ray("job", "submit", "--working-dir", ".", *options, "--", *entry)
        return done.returncode, events(done.stdout)

    def info(self, job: str) -> dict[str, Any]:
        """What the cluster knows of a job."""
        request = urllib.request.Request(
            f"{self.address}/api/jobs/{job}",
            headers={"Authorization": f"Bearer {self.environment['RAY_AUTH_TOKEN']}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def events(text: str) -> list[dict[str, Any]]:
    """The JSON lines of a job's log; Ray's own lines are left out."""
    found = []
    for line in text.splitlines():
        with suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                found.append(value)
    return found


@contextmanager
def running_head(cpus: int = 4) -> Iterator[Head]:
    """Starts a head node on free ports and ends it, and nothing else, afterwards."""
    base = _free_block(len(_PORTS) + _WORKER_PORTS)
    ports = {name: base + number for number, name in enumerate(_PORTS)}
    workers = base + len(_PORTS)
    # Paths of sockets may have 107 characters, which pytest's folders are too long for.
    folder = tempfile.mkdtemp(prefix="a2r", dir="/tmp")
    address = f"http://127.0.0.1:{ports['--dashboard-port']}"
    environment = {
        **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_API_SERVER_ADDRESS": address,
        "OMP_NUM_THREADS": "1",
    }
    command = [_RAY, "start", "--head", "--block", "--temp-dir", folder, "--num-cpus", str(cpus)]
    command += ["--object-store-memory", str(256 * 2**20), "--dashboard-host", "127.0.0.1"]
    command += [part for name, port in ports.items() for part in (name, str(port))]
    command += ["--min-worker-port", str(workers), "--max-worker-port", str(workers + _WORKER_PORTS - 1)]
    with (Path(folder) / "head.log").open("w") as output:
        head = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        found = Head(address, environment)
        _wait_for(found, head, Path(folder) / "head.log")
        yield found
    finally:
        with suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            head.wait(5)  # it would take half a minute to end everything by itself
        _end_what_is_left(head, folder)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(head: Head, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", int(head.address[-5:])), 1):
            if "Ray runtime started" in log.read_text():
                return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.3)


def _end_what_is_left(head: subprocess.Popen[bytes], folder: str) -> None:
    """Ends the processes of this head that outlived it: those of its session or with its folder's name."""
    left = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == head.pid or any(folder in word for word in process.cmdline()):
                process.kill()
                left.append(process)
    psutil.wait_procs(left, timeout=10)
    head.wait(10)


def _free_block(size: int) -> int:
    """The first of so many free ports above those of Ray's workers and below those given out at random."""
    for _ in range(100):
        base = random.SystemRandom().randrange(20000, 32000 - size)
        if all(_is_free(port) for port in range(base, base + size)):
            return base
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        try:
            trial.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True
