"""Kills a node in mid-training, worker and index actor with it; prints what came of it as one line of JSON.

python training_node_death.py FOLDER BANK: the bank's index at scale 4:4 is one shard.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.1"
os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "15"
sys.path.insert(0, str(Path(__file__).parents[2]))

import ray
from ray.cluster_utils import Cluster as Nodes

from art2real.distributed import train_job
from art2real.training.plan import plan_run
from art2real.training.run_folder import RunFolder
from tests.distributed.nodes import cluster_of_nodes, node_of
from tests.training.runs import tiny_config

STEPS = 400


def main(folder: Path, bank: str) -> dict[str, Any]:
    with cluster_of_nodes() as nodes:
        # Each has room for one worker and one index actor.
        workers = [nodes.add_node(num_cpus=3, object_store_memory=200 * 2**20) for _ in range(2)]
        nodes.wait_for_nodes()
        return kill_a_node(nodes, workers, folder, bank)


def kill_a_node(nodes: Nodes, workers: list[Any], folder: Path, bank: str) -> dict[str, Any]:
    config = tiny_config(
        folder,
        STEPS,
        logging={"checkpoint_every": 10},
        contextual={"bank": bank, "scales": ["4:4"], "neighbours": 4, "draws": 64},
        cluster={"workers": 2, "cpus_per_worker": 2, "min_workers": 1, "index_cpus": 1, "max_failures": 3},
    )
    plan = plan_run(config)
    run = RunFolder.create(config, plan.facts)
    killed: list[int] = []
    started: list[Any] = []
    start = train_job.start_index_actors

    def remember(*arguments: Any) -> Any:
        started.append(start(*arguments))
        return started[-1]

    train_job.start_index_actors = remember

    def kill() -> None:
        holds_shard = node_of(started[0].handles[0])
        [node] = [each for each in workers if each.node_id == holds_shard]
        nodes.remove_node(node, allow_graceful=False)

    def on_progress(step: int, total: int, losses: dict[str, float]) -> None:
        if step >= 20 and not killed:
            killed.append(step)
            threading.Thread(target=kill).start()

    result = train_job.run_training(config, run, plan, on_progress=on_progress)
    stats = run.stats()
    images = [round(line["epoch"] * plan.photos) for line in stats]
    return {
        "nodes": sum(node["Alive"] for node in ray.nodes()),
        "killed_at": killed[0],
        "finished": result.finished,
        "steps": [line["step"] for line in stats] == list(range(1, STEPS + 1)),
        "images_a_step": sorted(
            {after - before for before, after in zip([0, *images], images, strict=False)}
        ),
        "last_images": images[-1] - images[-2],
        "missing": stats[-1]["missing_shard_queries"],
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2])))
