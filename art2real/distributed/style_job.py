"""Stylises photos on a Ray cluster: a Ray Data job in which one row is one photo with its painting."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray
import torch

from art2real.data.manifest import temporary_name
from art2real.distributed.data_rows import rows_as_made, work_on_rows
from art2real.distributed.room import alive_nodes, workers_on_cpus
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
    work_on_rows()
    room = _room(min(len(pairs), workers or len(pairs)), job)
    # JSON is ASCII, though names of files need not be valid Unicode.
    rows = [{"number": number, "pair": pair.to_json()} for number, pair in enumerate(pairs)]
    # Tasks of Ray rather than actors: these print an error of Ray's own about their restarts. A process does
    # one task after the other, on a GPU too (max_calls).
    done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _do_rows,
        batch_size=None,
        compute=ray.data.TaskPoolStrategy(size=room.workers),
        num_cpus=1,
        num_gpus=room.gpus,
        memory=room.memory,
        max_calls=0,
        fn_kwargs={"job": job.absolute(), "device": "cuda" if room.gpus else "cpu"},
    )
    for row in rows_as_made(done):
        if row["error"]:
            raise UserError(row["error"])
        yield pairs[row["number"]], row["reason"]


def _do_rows(rows: dict[str, Any], job: StyleJob, device: str) -> Iterator[dict[str, list[Any]]]:
    torch.set_num_threads(1)
    for number, text in zip(rows["number"], rows["pair"], strict=True):
        reason, error = _do(Pair.model_validate(json.loads(text)), job, torch.device(device))
        yield {"number": [number], "reason": [reason], "error": [error]}


def _do(pair: Pair, job: StyleJob, device: torch.device) -> tuple[str, str]:
    """Why there is no result, and what ends all: an exception would arrive with Ray's traceback."""
    try:
        with _attempt(job.out / pair.result) as attempts:
            if attempts > _ATTEMPTS:
                return f"a worker died {attempts - 1} times at it; try more memory or a lower --size", ""
            return _stylist(job, device)(pair), ""
    except UserError as error:
        return "", str(error)
    except OSError as error:
        return "", f"{job.out}: cannot be written: {error.strerror or error}"


@lru_cache(maxsize=1)
def _stylist(job: StyleJob, device: torch.device) -> Stylist:
    """What this process makes results with: loaded for its first task."""
    return Stylist(job, device)


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
    on_gpus = sum(int(min(node.get("CPU", 0), node.get("GPU", 0) // _GPU_SHARE)) for node in alive_nodes())
    if on_gpus:
        return _Room(min(most, on_gpus), _GPU_SHARE, 0)
    pixels = LONGEST * job.settings.size**2
    memory = _WORKER_BYTES + 2 * job.weights.path.stat().st_size + _PIXEL_BYTES * pixels
    workers, claimed = workers_on_cpus(most, memory)
    return _Room(workers, 0, claimed)
