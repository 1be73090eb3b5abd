"""Computes features of images on a Ray cluster: a Ray Data job in which one row is one task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import ray
import torch

from art2real.data.corpus import printable
from art2real.distributed.data_rows import rows_as_made, work_on_rows
from art2real.distributed.room import workers_on_gpus_or_cpus
from art2real.errors import UserError
from art2real.evaluation.feature_part import FeaturePart
from art2real.evaluation.feature_task import FeatureTask, do_task
from art2real.evaluation.networks import FeatureNetwork, make_network
from art2real.evaluation.weights import Weights

_ATTEMPTS = 3
"""Times that a task is begun before its files are held to be what kills the workers."""
_WORKER_BYTES = 2 * 2**30
"""Memory of a worker beside its weights: libraries, a batch between the layers, a large image."""


def extract_on_cluster(
    tasks: Sequence[FeatureTask], *, workers: int | None = None
) -> Generator[FeaturePart, None, None]:
    """Does tasks on the cluster; yields their parts as they are done, in any order.

    Each worker is a process that loads the network once: one a GPU if the cluster has any, else one a CPU, as
    far as the memory goes. That computes in one thread, so that features are the same to the bit however many
    there are. Ray has to be initialised, and the images and the weights have to lie in the same place on
    every node. The `do_tasks` of `extract_features`.

    Args:
        tasks: all by the same network.
        workers: at most; None: as many as there is room for.

    Raises:
        UserError: see `do_task` and `make_network`; or a task's worker died again and again.
    """
    if not tasks:
        return
    work_on_rows()
    memory = _WORKER_BYTES + 2 * tasks[0].weights.path.stat().st_size
    room = workers_on_gpus_or_cpus(min(len(tasks), workers or len(tasks)), memory)
    rows = [{"task": _absolute(task).to_json()} for task in tasks]
    # Tasks of Ray rather than actors: these print an error of Ray's own about their restarts. A process does
    # one task after the other, on a GPU too (max_calls).
    done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _do_rows,
        batch_size=None,
        compute=ray.data.TaskPoolStrategy(size=room.workers),
        num_cpus=room.cpus,
        num_gpus=room.gpus,
        memory=room.memory,
        max_calls=0,
        fn_kwargs={
            "threads": room.cpus,
            "device": "cuda" if room.gpus else "cpu",
            # It may be on any node: if that dies, it starts elsewhere and counts anew.
            "attempts": ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Attempts).remote(),
        },
    )
    for row in rows_as_made(done):
        if row["error"]:
            raise UserError(row["error"])
        yield FeaturePart.from_bytes(row["part"])


class _Attempts:
    """Counts how often each task was begun: Ray Data gives one whose worker died to another, without end."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        """How often the task was begun, this time included."""
        self._begun[number] += 1
        return self._begun[number]


def _do_rows(
    rows: dict[str, Any], threads: int, device: str, attempts: Any
) -> Iterator[dict[str, list[Any]]]:
    torch.set_num_threads(threads)
    for text in rows["task"]:
        part, error = _do(FeatureTask.from_json(text), torch.device(device), attempts)
        yield {"part": [part], "error": [error]}


def _do(task: FeatureTask, device: torch.device, attempts: Any) -> tuple[bytes, str]:
    """The part, or what is wrong: an exception would arrive with the traceback of Ray's machinery."""
    if ray.get(attempts.begin.remote(task.number)) > _ATTEMPTS:
        first, last = (printable(file.name) for file in (task.files[0], task.files[-1]))
        return b"", (
            f"{task.folder}: a worker died {_ATTEMPTS} times at the files {first} to {last}; what is done is "
            "kept: run the command again with more memory, or without the file that does it"
        )
    try:
        return do_task(task, _network(task.weights, device)).to_bytes(), ""
    except UserError as error:
        return b"", str(error)


@lru_cache(maxsize=1)
def _network(weights: Weights, device: torch.device) -> FeatureNetwork:
    """The network that this process computes with: loaded for its first task."""
    return make_network(weights, device)


def _absolute(task: FeatureTask) -> FeatureTask:
    """Workers have a working directory of their own."""
    weights = replace(task.weights, path=task.weights.path.resolve())
    return replace(task, folder=task.folder.resolve(), weights=weights)
