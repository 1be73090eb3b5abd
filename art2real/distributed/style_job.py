"""Stylises photos on a Ray cluster: a Ray Data job in which one row is one photo with its painting."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch

from art2real.data.manifest import temporary_name
from art2real.errors import UserError
from art2real.evaluation.style_pairs import Pair
from art2real.evaluation.stylist import LONGEST, StyleJob, Stylist

_ATTEMPTS = 3
"""Times that a photo is begun before it is held to be what kills the workers."""
_GPU_SHARE = 0.25
"""Of a worker: the descent's own sums are done by the CPU, while other workers compute on the GPU."""
_WORKER_BYTES = 3 * 2**29
"""Memory of a worker beside what depends on the size of the images, and on the file of weights."""
_PIXEL_BYTES = 4096
"""Memory that a pixel of the result takes while its gradient is computed."""


def stylise_on_cluster(
    job: StyleJob, pairs: Sequence[Pair], *, workers: int | None = None
) -> Generator[tuple[Pair, str], None, None]:
    """Makes the results of pairs on the cluster; yields each with why it could not be made, or nothing.

    Each worker is a process that loads the network once: four a GPU if the cluster has any, else one a CPU,
    as far as the memory goes. It computes in one thread, so that results are the same to the bit however
    many workers there are. Ray has to be initialised, and the folders and the weights have to lie in the
    same place on every node. The `do_pairs` of `stylise_folder`.

    Args:
        job: what holds for all.
        pairs: what is to be made.
        workers: at most; None: as many as there is room for.

    Raises:
        UserError: see `Stylist`.
    """
    if not pairs:
        return
    context = ray.data.DataContext.get_current()
    # Results tell the progress, and errors are raised: Data's bars and logs would say both once more.
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    # What is said of a pair is its own block, so that it arrives when the result is made.
    context.target_max_block_size = 1
    # There is one operator that works: nothing is kept back for others.
    context.op_resource_reservation_enabled = False
    room = _room(min(len(pairs), workers or len(pairs)), job)
    # JSON is ASCII, though names of files need not be valid Unicode.
    rows = [{"number": number, "pair": pair.to_json()} for number, pair in enumerate(pairs)]
    done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Worker,
        batch_size=None,
        compute=ray.data.ActorPoolStrategy(size=room.workers, max_tasks_in_flight_per_actor=1),
        num_cpus=1,
        num_gpus=room.gpus,
        memory=room.memory,
        fn_constructor_args=(job.absolute(), "cuda" if room.gpus else "cpu"),
    )
    for row in done.iter_rows():
        if row["error"]:
            raise UserError(row["error"])
        yield pairs[row["number"]], row["reason"]


class _Worker:
    """A process that makes results, one after the other; the network is loaded for the first of them."""

    def __init__(self, job: StyleJob, device: str) -> None:
        torch.set_num_threads(1)
        self._job, self._device = job, torch.device(device)
        self._stylist: Stylist | None = None

    def __call__(self, rows: dict[str, Any]) -> Iterator[dict[str, list[Any]]]:
        for number, text in zip(rows["number"], rows["pair"], strict=True):
            reason, error = self._make(Pair.model_validate(json.loads(text)))
            yield {"number": [number], "reason": [reason], "error": [error]}

    def _make(self, pair: Pair) -> tuple[str, str]:
        """Why there is no result, and what ends all: an exception would arrive with Ray's traceback."""
        try:
            with _attempt(self._job.out / pair.result) as attempts:
                if attempts > _ATTEMPTS:
                    return f"a worker died {attempts - 1} times at it; try more memory or a lower --size", ""
                if self._stylist is None:
                    self._stylist = Stylist(self._job, self._device)
                return self._stylist(pair), ""
        except UserError as error:
            return "", str(error)
        except OSError as error:
            return "", f"{self._job.out}: cannot be written: {error.strerror or error}"


@contextmanager
def _attempt(result: Path) -> Iterator[int]:
    """Counts how often a result was begun and its process then died.

    Ray Data starts a task whose worker died again, without end. Marks beside the result outlive the worker;
    the next call removes them.
    """
    result.parent.mkdir(parents=True, exist_ok=True)
    mark = temporary_name(result.with_name(f"{result.name}.attempt"))
    mark.touch()
    try:
        beginning = f".{result.name}.attempt."
        yield sum(1 for each in result.parent.iterdir() if each.name.startswith(beginning))
    finally:
        mark.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Room:
    """How many workers there are room for, and what each claims beside a CPU."""

    workers: int
    gpus: float
    memory: int
    """Bytes; 0: none is claimed."""


def _room(most: int, job: StyleJob) -> _Room:
    """Room for at most so many workers on the nodes that are there now."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    on_gpus = sum(int(min(node.get("CPU", 0), node.get("GPU", 0) // _GPU_SHARE)) for node in nodes)
    if on_gpus:
        return _Room(min(most, on_gpus), _GPU_SHARE, 0)
    pixels = LONGEST * job.settings.size**2
    memory = _WORKER_BYTES + 2 * job.weights.path.stat().st_size + _PIXEL_BYTES * pixels
    workers = sum(int(min(node.get("CPU", 0), node.get("memory", 0) // memory)) for node in nodes)
    # Where there is too little memory even for one, it has to try.
    return _Room(min(most, workers), 0, memory) if workers else _Room(1, 0, 0)
