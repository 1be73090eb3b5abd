"""The faults that are tried, by name, and how one is run in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.faults.outcome import Outcome

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "OMP_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class Fault:
    """A fault in a stage."""

    name: str
    stage: str
    what: str
    """What happens, in words."""
    module: str
    """Of `tests.faults`."""
    function: str
    """Takes an empty folder and returns an `Outcome`."""


FAULTS = (
    Fault("bank-node", "build-banks", "a node is killed", "banks", "node_killed"),
    Fault("bank-slow", "build-banks", "a node stands still 80 % of the time", "banks", "node_slow"),
    Fault("bank-store", "build-banks", "5 % of the store's calls fail", "storage", "calls_fail"),
    Fault("bank-no-store", "build-banks", "the store goes away", "storage", "store_goes_away"),
    Fault("bank-head", "build-banks", "the head is killed", "heads", "killed_while_building"),
    Fault("bank-redis", "build-banks", "the head is restarted", "heads", "restarted_with_its_state"),
    Fault("index-nodes", "build-index", "a node is killed in each step", "indexes", "nodes_killed"),
    Fault("shard-damaged", "retrieval", "a shard's file is damaged", "shards", "shard_damaged"),
    Fault("train-worker", "train", "the node of a worker is killed", "training", "worker_node_killed"),
    Fault("train-index", "train", "the node of an index actor is killed", "training", "index_node_killed"),
    Fault("train-head", "train", "the head is killed", "heads", "killed_while_training"),
    Fault("translate-node", "translate", "a node is killed", "translation", "node_killed"),
)
BY_NAME = {fault.name: fault for fault in FAULTS}


def has_redis() -> bool:
    """Whether there is a server to keep a head's state in."""
    return shutil.which("redis-server") is not None


class FaultError(Exception):
    """A fault ended otherwise than by its outcome."""


def run_apart(name: str, folder: Path, *, seconds: float = 420.0) -> Outcome:
    """Runs a fault in a process of its own.

    Args:
        name: of a fault. folder: for all that it makes, an empty one.
        seconds: that it may take.

    Raises:
        FaultError: it did not come to its end; with what it said.
    """
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults", name, str(folder)],
            cwd=ROOT,
            env={**environment, **ENVIRONMENT},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FaultError(f"{name} took more than {seconds:.0f} s: {str(error.stderr)[-3000:]}") from None
    if done.returncode != 0:
        raise FaultError(f"{name} ended with exit code {done.returncode}:\n{done.stderr[-3000:]}")
    return Outcome(**json.loads(done.stdout.splitlines()[-1]))
