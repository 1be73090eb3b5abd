"""Training with a node that dies, and with it a worker or an index actor."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from art2real.config.tree import TrainingConfig
from art2real.distributed import train_job
from art2real.training.plan import plan_run
from art2real.training.run_folder import RunFolder
from tests.faults.faulty_cluster import FaultyCluster, faulty_cluster, wait_for
from tests.faults.outcome import Blow, Outcome, Stopwatch, contents
from tests.index.banks import NARROW, index_bank, make_bank, request
from tests.training.runs import tiny_config, write_domains

_STEPS = 60
_MOMENT = 25
"""The step after which the node dies: checkpoints are written every 10."""


def worker_node_killed(folder: Path) -> Outcome:
    """One of two workers dies with its node; there is another node to take its place."""
    write_domains(folder)
    cluster = {"workers": 2, "cpus_per_worker": 2, "max_failures": 2}
    with faulty_cluster(2, 2, 2) as nodes:
        return _compare(folder, nodes, cluster, _kill_worker)


def index_node_killed(folder: Path) -> Outcome:
    """The only index actor dies with its node; there is another node that it may be on."""
    write_domains(folder)
    bank = make_bank(folder)
    index_bank(bank, NARROW, request(shards=1))
    contextual = {"bank": str(bank.path), "scales": ["4:4"], "neighbours": 4, "draws": 64}
    cluster = {"cpus_per_worker": 2, "index_cpus": 1, "index_label": "holds=index", "max_failures": 0}
    with faulty_cluster(2) as nodes:
        for _ in range(2):
            nodes.add(1, labels={"holds": "index"})
        return _compare(folder, nodes, cluster, _kill_index_actor, contextual=contextual)


def _compare(
    folder: Path, nodes: FaultyCluster, cluster: dict[str, Any], kill: Any, **sections: Any
) -> Outcome:
    def config(name: str) -> TrainingConfig:
        return tiny_config(
            folder,
            _STEPS,
            runs=str(folder / name),
            logging={"checkpoint_every": 10},
            cluster=cluster,
            **sections,
        )

    plain, undisturbed = _train(config("undisturbed"))
    blow: list[Blow] = []
    notes: dict[str, Any] = {}

    def begin(run: RunFolder) -> Blow:
        blow.append(Blow(lambda: kill(nodes, run, notes)))
        return blow[0]

    seconds, disturbed = _train(config("disturbed"), begin)
    notes["steps"] = [line["step"] for line in disturbed.stats()] == list(range(1, _STEPS + 1))
    return Outcome(plain, seconds, blow[0].recovery, result_of(undisturbed) == result_of(disturbed), notes)


def _train(config: TrainingConfig, begin: Any = None) -> tuple[float, RunFolder]:
    plan = plan_run(config)
    run = RunFolder.create(config, plan.facts)
    with Stopwatch() as watch:
        if begin is None:
            train_job.run_training(config, run, plan)
        else:
            with begin(run).beside():
                train_job.run_training(config, run, plan)
    return watch.seconds, run


def result_of(run: RunFolder) -> tuple[Any, ...]:
    """All losses, and all files of the last checkpoint but for its record, which names the run's folder."""
    losses = [(line["step"], line["losses"]) for line in run.stats()]
    return losses, contents(run.checkpoints()[-1][1], without=("checkpoint.json",))


def _kill_worker(cluster: FaultyCluster, run: RunFolder, notes: dict[str, Any]) -> float:
    _wait_for_step(run, _MOMENT)
    before = (run.path / "stats.jsonl").stat().st_ino
    cluster.kill(cluster.node_at_work("ray::RayTrainWorker"))
    struck = time.monotonic()
    notes["killed_after"] = _last_step(run)
    # The new group replaces the file by one without the steps that it does again, and then adds to it.
    cut = wait_for(lambda: _size_of_another(run, before))
    wait_for(lambda: True if _size_of_another(run, before) != cut else None)
    return time.monotonic() - struck


def _kill_index_actor(cluster: FaultyCluster, run: RunFolder, notes: dict[str, Any]) -> float:
    _wait_for_step(run, _MOMENT)
    cluster.kill(cluster.node_at_work("ray::IndexActor"))
    struck = time.monotonic()
    step = notes["killed_after"] = _last_step(run)
    # What it had been asked before is answered; the step after that one is not.
    wait_for(lambda: True if _last_step(run) >= step + 2 else None)
    return time.monotonic() - struck


def _wait_for_step(run: RunFolder, step: int) -> None:
    wait_for(lambda: True if _last_step(run) >= step else None)


def _last_step(run: RunFolder) -> int:
    line = run.last_stats()
    return 0 if line is None else int(line["step"])


def _size_of_another(run: RunFolder, inode: int) -> int | None:
    """Bytes of stats.jsonl if it is another file than before."""
    status = (run.path / "stats.jsonl").stat()
    return None if status.st_ino == inode else status.st_size
