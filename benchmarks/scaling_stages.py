"""The stages that `scaling.py` measures, on one cluster: prints their measurements as one line of JSON.

    python benchmarks/scaling_stages.py NODES WORK PHOTOS INDEXED STEPS REPEATS

NODES 0: in this process, without Ray.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from art2real.config.load import config_from_dict
from art2real.config.tree import Cluster, TrainingConfig
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.bank_run import ShardWriter, serially
from art2real.data.manifest import BankSettings

CORES = len(os.sched_getaffinity(0))
SCALE = Scale(8, 5)
NEIGHBOURS = 32
INDEX_ACTORS = 4  # as many on each cluster
QUERY_SIDE = 256  # pixels
REQUESTS = 3  # to a measurement
IMAGES_A_STEP = 4
WARM_STEPS = 10
LOG_EVERY = 5  # steps of training to a measurement

Measured = dict[str, list[float]]
"""`seconds` and `processor` seconds of each run of a stage."""


class Sizes(NamedTuple):
    photos: int
    """Of the bank that is built."""
    indexed: int
    """Photos of the bank that is searched."""
    steps: int
    """Of training, the first ones included."""
    repeats: int
    """Measurements of a stage."""


def processor_seconds() -> float:
    """What this process and all below it, Ray's among them, have used of the processors, ended ones
    included."""
    this = psutil.Process()
    total = 0.0
    for process in (this, *this.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def timed(run: Callable[[], object], repeats: int, *, after: Callable[[], object] = lambda: None) -> Measured:
    """Measures a run `repeats` times; one before that warms up. `after`: is not measured."""
    found: Measured = {"seconds": [], "processor": []}
    for number in range(repeats + 1):
        used, begun = processor_seconds(), time.perf_counter()
        run()
        taken, used = time.perf_counter() - begun, processor_seconds() - used
        after()
        if number:
            found["seconds"].append(taken)
            found["processor"].append(used)
    return found


@contextmanager
def cluster(nodes: int) -> Iterator[None]:
    """A head without CPUs, which this process is connected to, and nodes that share the cores."""
    from ray.cluster_utils import Cluster as Nodes

    from art2real.distributed.cluster import session

    memory = 256 * 2**20
    started = Nodes(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": memory, "include_dashboard": False},
    )
    try:
        for _ in range(nodes):
            started.add_node(num_cpus=cpus_of(nodes), object_store_memory=memory)
        with session(started.address):
            yield
    finally:
        started.shutdown()


def cpus_of(nodes: int) -> int:
    """CPUs of each node."""
    return max(1, CORES // nodes)


def bank(work: Path, sizes: Sizes, nodes: int) -> Measured:
    """Builds a bank of 128-pixel photos."""
    write: ShardWriter = serially
    if nodes:
        from art2real.distributed.bank_job import write_on_cluster as write

    out = work / "timed"

    def forget() -> None:
        shutil.rmtree(out)
        os.sync()

    settings = BankSettings(image_size=128, photos_per_shard=max(1, min(256, sizes.photos // 16)))
    return timed(lambda: build_bank(work / "photos", out, settings, write=write), sizes.repeats, after=forget)


def retrieval(work: Path, sizes: Sizes, nodes: int) -> Measured:
    """Asks for the neighbours of an image's patches, and for theirs; seconds of one such request."""
    from art2real.core.patches import extract, to_signed
    from art2real.index.retriever import open_retriever

    searched = MemoryBank.open(work / "searched")
    if nodes:
        from art2real.distributed.index_actors import open_actor_retriever, start_index_actors

        cpus = min(1.0, nodes * cpus_of(nodes) / INDEX_ACTORS)
        actors = start_index_actors(searched.path, [SCALE], Cluster(index_cpus=cpus))
        retriever = open_actor_retriever(searched, SCALE, actors)
    else:
        retriever = open_retriever(searched, SCALE, threads=CORES)

    queries = extract(to_signed(_query_image(work)), SCALE.size, SCALE.stride)[0].numpy()

    def ask() -> None:
        for _ in range(REQUESTS):
            rows = np.unique(retriever.neighbours(queries, NEIGHBOURS))
            retriever.fetch(rows[rows >= 0])

    found = timed(ask, sizes.repeats)
    if nodes:
        actors.stop()
    return {key: [value / REQUESTS for value in values] for key, values in found.items()}


def _query_image(work: Path):  # type: ignore[no-untyped-def]
    """A softened photo, uint8 `[1, 3, H, W]`."""
    import torch
    from scipy.ndimage import gaussian_filter

    from art2real.data.images import decode, square

    photo = square(decode(sorted((work / "made").iterdir())[-1]), QUERY_SIDE)
    return torch.from_numpy(gaussian_filter(photo, (1, 1, 0))).permute(2, 0, 1)[None]


def training(work: Path, sizes: Sizes, nodes: int) -> Measured:
    """Trains; seconds of one step in each stretch between two lines of the log, processor seconds of a step
    over all of them, and `start`, the seconds of the run that were not steps."""
    from art2real.training.plan import plan_run
    from art2real.training.run_folder import RunFolder

    config = _config(work, sizes, nodes)
    plan = plan_run(config)
    run = RunFolder.create(config, plan.facts)
    looks: list[tuple[int, float]] = []  # steps done, processor seconds until then
    begun = time.perf_counter()
    if nodes:
        from art2real.distributed.train_job import run_training

        run_training(
            config, run, plan, on_progress=lambda step, *_: looks.append((step, processor_seconds()))
        )
    else:
        _train_here(config, run, looks)
    taken = time.perf_counter() - begun
    each = [1 / line["steps_per_second"] for line in run.stats()]
    looks = [look for look in looks if WARM_STEPS <= look[0] < sizes.steps]  # the last is seen too late
    if len(looks) < 2:
        sys.exit("the training was over before it could be looked at twice: give more --steps")
    (first, before), (last, after) = looks[0], looks[-1]
    return {
        "seconds": each[WARM_STEPS // LOG_EVERY :],
        "processor": [(after - before) / (last - first)],
        "start": [taken - sum(each) * LOG_EVERY],
    }


def _config(work: Path, sizes: Sizes, nodes: int) -> TrainingConfig:
    workers = max(1, nodes)
    values = {
        "name": "scaling",
        "runs": str(work / "runs"),
        "data": {
            "paintings": str(work / "paintings"),
            "photos": str(work / "pictures"),
            "load_size": 72,
            "crop_size": 64,
        },
        "networks": {"generator_width": 12, "generator_blocks": 2, "discriminator_width": 12},
        "schedule": {"max_steps": sizes.steps, "batch_size": IMAGES_A_STEP // workers},
        "logging": {"log_every": LOG_EVERY, "sample_every": 10**6, "checkpoint_every": 10**6},
        "cluster": {"workers": workers, "cpus_per_worker": cpus_of(workers), "use_gpu": False},
    }
    return config_from_dict(values, "scaling")


def _train_here(config: TrainingConfig, run, looks: list[tuple[int, float]]) -> None:  # type: ignore[no-untyped-def]
    """Trains in a thread of this process, and looks at it as often as at one on a cluster."""
    import torch

    from art2real.training.loop import train_loop

    torch.set_num_threads(CORES)
    thread = threading.Thread(target=train_loop, args=(config, run))
    thread.start()
    while thread.is_alive():
        thread.join(0.5)
        line = run.last_stats()
        if line is not None and (not looks or line["step"] != looks[-1][0]):
            looks.append((line["step"], processor_seconds()))


STAGES = {"bank": bank, "retrieval": retrieval, "training": training}


def main(nodes: int, work: Path, sizes: Sizes) -> None:
    if nodes == 0:
        found = {name: stage(work, sizes, nodes) for name, stage in STAGES.items()}
    else:
        with cluster(nodes):
            found = {name: stage(work, sizes, nodes) for name, stage in STAGES.items()}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Sizes(*map(int, sys.argv[3:])))
