"""Translates images on a Ray cluster: a Ray Data job in which one row is a run of images."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import ray
import torch

from art2real.data.sources import Entry
from art2real.distributed.data_rows import rows_as_made, work_on_rows
from art2real.distributed.room import workers_on_gpus_or_cpus
from art2real.errors import UserError
from art2real.translation.image import WHOLE_PIXELS
from art2real.translation.job import Picture, TranslationJob
from art2real.translation.translator import Translator

_ATTEMPTS = 3
"""Times that an image is begun by itself before it is held to be what kills the workers."""
_ON_GPU, _ON_CPU = 64, 16
"""Images of a row, at most."""
_WORKER_BYTES = 3 * 2**29
"""Memory of a worker beside what depends on images and generators: libraries, a decoder at work."""
_KEPT_BYTES = 4 * 2**30
"""Of a large image, what `translate_tiled` keeps in memory at most."""


def translate_on_cluster(
    job: TranslationJob, pictures: Sequence[Picture], *, workers: int | None = None
) -> Generator[tuple[Picture, str], None, None]:
    """Makes what is missing of pictures on the cluster: the `do_pictures` of `run_plan`.

    Each worker is a process that loads the generators once: one a GPU if the cluster has any, else one a CPU,
    as far as the memory goes. On CPUs results are the same to the bit however many workers there are; on GPUs
    too, unless a worker dies. Large images come last, each with the memory that it takes. Ray has to be
    initialised, and the images, the checkpoints and the results have to lie in the same place on every node.

    Args:
        job: what holds for all.
        pictures: those of one size together, large ones last.
        workers: at most; None: as many as there is room for.

    Raises:
        UserError: see `Translator`.
    """
    ordinary = [picture for picture in pictures if not picture.is_large]
    large = [picture for picture in pictures if picture.is_large]
    for some in (ordinary, large):
        if some:
            yield from _translate(job, some, workers)


def _translate(
    job: TranslationJob, pictures: Sequence[Picture], workers: int | None
) -> Generator[tuple[Picture, str], None, None]:
    work_on_rows()
    room = workers_on_gpus_or_cpus(min(len(pictures), workers or len(pictures)), _bytes(job, pictures))
    each = 1 if pictures[0].is_large else _ON_GPU if room.gpus else _together(len(pictures), room.workers)
    rows = [
        {"run": _as_json(pictures, range(len(pictures))[first : first + each])}
        for first in range(0, len(pictures), each)
    ]
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
            "job": job.absolute(),
            "threads": room.cpus,
            "device": "cuda" if room.gpus else "cpu",
            "attempts": _counter(),
        },
    )
    for row in rows_as_made(done):
        if row["error"]:
            raise UserError(row["error"])
        if row["number"] >= 0:
            yield pictures[row["number"]], row["reason"]


class _Attempts:
    """Counts how often something was begun and not ended: Ray Data gives what a worker died of to another,
    without end."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begin(self, what: str) -> int:
        """How often it was begun, this time included."""
        self._begun[what] += 1
        return self._begun[what]

    def end(self, what: str) -> None:
        self._begun[what] -= 1


def _counter() -> Any:
    """A running `_Attempts`. It may be on any node: if that dies, it starts elsewhere and counts anew."""
    return ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Attempts).remote()


def _do_rows(
    rows: dict[str, Any], job: TranslationJob, threads: int, device: str, attempts: Any
) -> Iterator[dict[str, list[Any]]]:
    torch.set_num_threads(threads)
    for text in rows["run"]:
        run = {number: _picture(values) for number, values in json.loads(text)}
        try:
            for number, reason in _do_run(run, job, torch.device(device), attempts):
                yield {"number": [number], "reason": [reason], "error": [""]}
        except UserError as error:  # an exception would arrive with the traceback of Ray's machinery
            yield {"number": [-1], "reason": [""], "error": [str(error)]}


def _do_run(
    run: dict[int, Picture], job: TranslationJob, device: torch.device, attempts: Any
) -> Iterator[tuple[int, str]]:
    """Number of each picture, and why it is left out, or nothing. Always in the same order: Ray counts the
    rows that have arrived, and takes those after them from the next attempt."""
    if ray.get(attempts.begin.remote(f"run {min(run)}")) == 1:
        done = _translator(job, device)(list(run.values()))
        yield from ((number, reason) for number, (_, reason) in zip(run, done, strict=True))
        return
    # A worker died of one of them: each by itself now, so that the others do not suffer for it.
    for number, picture in run.items():
        begun = ray.get(attempts.begin.remote(f"image {number}"))
        if begun > _ATTEMPTS:
            yield number, f"a worker died {begun - 1} times at it; try more memory"
        else:
            for _, reason in _translator(job, device)([picture]):
                yield number, reason
            ray.get(attempts.end.remote(f"image {number}"))


@lru_cache(maxsize=1)
def _translator(job: TranslationJob, device: torch.device) -> Translator:
    """What this process translates with: loaded for its first run."""
    return Translator(job, device)


def _as_json(pictures: Sequence[Picture], numbers: Iterable[int]) -> str:
    """Pictures with their numbers: ASCII, though names of files need not be valid Unicode."""
    return json.dumps([(number, asdict(pictures[number])) for number in numbers])


def _picture(values: dict[str, Any]) -> Picture:
    """One of what `_as_json` wrote."""
    size = None if values["size"] is None else tuple(values["size"])
    return Picture(
        **{**values, "entry": Entry(**values["entry"]), "size": size, "missing": tuple(values["missing"])}
    )


def _bytes(job: TranslationJob, pictures: Sequence[Picture]) -> int:
    """Memory that a worker takes for the largest of pictures."""
    largest = max((picture.pixels or WHOLE_PIXELS for picture in pictures), default=0)
    width = max(model.width for model in job.models)
    # See `translate_image` and `translate_tiled`: 1 KiB and 128 bytes a pixel for a width of 64.
    if largest <= WHOLE_PIXELS:
        computing = 16 * width * largest
    else:
        computing = 16 * width * WHOLE_PIXELS + min(2 * width * largest, _KEPT_BYTES)
    images = 3 * (2 + len(job.models) * (1 + job.side_by_side)) * largest
    return _WORKER_BYTES + computing + images


def _together(pictures: int, workers: int) -> int:
    """Images of a row, so that every worker gets several rows."""
    return max(1, min(_ON_CPU, pictures // (4 * workers)))
