"""The head of a cluster that dies: for good, or so that it comes back with what it knew."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import ray
import yaml

from art2real.core.scale import Scale
from art2real.data.bank_build import build_bank
from art2real.data.manifest import BankSettings
from art2real.distributed import bank_job
from art2real.training.run_folder import RunFolder
from tests.faults.faulty_cluster import one_node, processes_of, wait_for
from tests.faults.journal import Journal
from tests.faults.outcome import Blow, Outcome, Stopwatch, contents
from tests.faults.pictures import write_large_photos
from tests.faults.training import result_of
from tests.training.runs import tiny_values, write_domains

_PATIENCE_SECONDS = 20
"""Of Ray with a head that is gone: 60 where nothing else is said."""
_DOWN_SECONDS = 3.0
"""For which the cluster is without its control service."""


def killed_while_building(folder: Path) -> Outcome:
    """The head and all else of a cluster die; the command is given again, with --resume, to a new one."""
    write_large_photos(folder / "photos", 1536, side=300)  # six tasks

    def command(name: str) -> list[str]:
        return [
            *("build-banks", str(folder / "photos"), "--out", str(folder / name)),
            *("--size", "32", "--scale", "8:5", "--no-index"),
        ]

    def done() -> int:
        return len(list((folder / "disturbed/records").glob("*.json")))

    plain, disturbed, recovery, notes = _kill_head(command, done, at=1)
    equal = contents(folder / "undisturbed") == contents(folder / "disturbed")
    return Outcome(plain, disturbed, recovery, equal, notes)


def killed_while_training(folder: Path) -> Outcome:
    """The same with a training, which goes on from its last checkpoint."""
    write_domains(folder)
    for name in ("undisturbed", "disturbed"):
        values = tiny_values(folder, 60, runs=str(folder / name), logging={"checkpoint_every": 10})
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))

    def command(name: str) -> list[str]:
        return ["train", "--config", str(folder / f"{name}.yaml")]

    def run(name: str) -> RunFolder:
        return RunFolder(folder / name / "0001-tiny")

    def done() -> int:
        line = run("disturbed").last_stats()
        return 0 if line is None else int(line["step"])

    plain, disturbed, recovery, notes = _kill_head(command, done, at=25)
    return Outcome(
        plain, disturbed, recovery, result_of(run("undisturbed")) == result_of(run("disturbed")), notes
    )


def restarted_with_its_state(folder: Path) -> Outcome:
    """The control service dies and is started again, with its state in Redis, while a bank is built."""
    settings = BankSettings(image_size=48, scales=(Scale(16, 6),), photos_per_shard=6)
    photos = write_large_photos(folder / "photos", 72, side=1500)
    few = write_large_photos(folder / "few", 12, side=64)
    with _redis(folder), one_node(2, gcs_server_port=_free_port()) as nodes:
        ray.init(address=nodes.address, log_to_driver=False)
        build_bank(few, folder / "warm", settings, write=bank_job.write_on_cluster)
        with Stopwatch() as plain:
            build_bank(photos, folder / "undisturbed", settings, write=bank_job.write_on_cluster)
        with Journal(folder / "journal").of(bank_job) as journal, Stopwatch() as disturbed:
            blow = Blow(lambda: _restart(nodes.head_node, journal))
            with blow.beside():
                build_bank(photos, folder / "disturbed", settings, write=bank_job.write_on_cluster)
        ray.shutdown()
    equal = contents(folder / "undisturbed") == contents(folder / "disturbed")
    return Outcome(plain.seconds, disturbed.seconds, blow.recovery, equal, {"pieces": len(journal.pieces())})


def _kill_head(
    command: Callable[[str], list[str]], done: Callable[[], int], at: int
) -> tuple[float, float, float, dict[str, Any]]:
    """Runs a command undisturbed, and then with the cluster's death in the middle, and once more.

    Args:
        command: what is given to art2real-cli, for the folder of a name.
        done: how far the disturbed one has come.
        at: where the cluster dies.

    Returns:
        Seconds of both, seconds from the death until there was something new, what else was seen.
    """
    with one_node(2) as nodes:
        with Stopwatch() as plain:
            first = _start(command("undisturbed"), nodes.address)
            _, said = first.communicate(timeout=200)
            assert first.returncode == 0, said
        begun = time.monotonic()
        interrupted = _start(command("disturbed"), nodes.address)
        wait_for(lambda: True if done() >= at or interrupted.poll() is not None else None)
        assert interrupted.poll() is None, "it ended before the cluster was killed"
        for process in processes_of(nodes.head_node):
            process.kill()
        struck = time.monotonic()
        _, said = interrupted.communicate(timeout=200)
        notes = {"exit": interrupted.returncode, "said": said[-2000:], "left": done()}
        notes["seconds_until_exit"] = time.monotonic() - struck
    with one_node(2) as nodes:
        again = _start([*command("disturbed"), "--resume"], nodes.address)
        left = done()
        wait_for(lambda: True if done() not in (left, 0) or again.poll() is not None else None)
        recovery = time.monotonic() - struck
        _, said = again.communicate(timeout=200)
        assert again.returncode == 0, said
    return plain.seconds, time.monotonic() - begun, recovery, notes


def _start(command: list[str], address: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "art2real.cli", *command, "--address", address],
        env={**os.environ, "RAY_gcs_rpc_server_reconnect_timeout_s": str(_PATIENCE_SECONDS)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _restart(head: Any, journal: Journal) -> float:
    """Seconds from the death of the control service until something begun after it was done."""
    wait_for(lambda: journal.nodes() or None)
    head.kill_gcs_server()
    died = time.time()
    time.sleep(_DOWN_SECONDS)
    head.start_gcs_server()

    def first() -> float | None:
        ended = [piece.ended for piece in journal.pieces() if piece.ended and piece.begun > died]
        return min(ended, default=None)

    done: float = wait_for(first)
    return done - died


@contextmanager
def _redis(folder: Path) -> Iterator[None]:
    """A server that Ray keeps the state of its head in."""
    port = _free_port()
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:
        with mock.patch.dict(os.environ, RAY_REDIS_ADDRESS=f"127.0.0.1:{port}"):
            yield
    finally:
        server.terminate()
        server.wait(10)


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])
