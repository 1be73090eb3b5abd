"""Builds memory banks on a Ray cluster: a Ray Data job in which one row is one shard."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from art2real.data.bank_build import Progress, Summary, build_bank
from art2real.data.bank_writer import ShardTask, write_shard
from art2real.data.corpus import Corpus, printable
from art2real.data.manifest import BankSettings, ShardRecord, temporary_name
from art2real.errors import UserError

_ATTEMPTS = 3
"""Times that a shard is begun before its files are held to be what kills the workers."""


def build_banks(
    photos: Path | Corpus,
    out: Path,
    settings: BankSettings,
    *,
    resume: bool = False,
    overwrite: bool = False,
    max_bad: float = 0.05,
    on_progress: Progress | None = None,
) -> Summary:
    """Builds a memory bank with all CPUs of the cluster; arguments and errors as `build_bank`.

    Ray has to be initialised. The folders must be the same on every node.
    """
    return build_bank(
        photos,
        out,
        settings,
        resume=resume,
        overwrite=overwrite,
        max_bad=max_bad,
        on_progress=on_progress,
        write=write_on_cluster,
    )


def write_on_cluster(tasks: list[ShardTask]) -> Generator[ShardRecord, None, None]:
    """Writes shards on the cluster, one CPU each; yields their records as they are finished.

    Raises:
        OSError: a shard could not be written.
        UserError: a shard's worker died again and again.
    """
    _quieten()
    rows = [{"task": _absolute(task).to_json()} for task in tasks]
    shards = ray.data.from_items(rows, override_num_blocks=len(rows)).map(_write_row, num_cpus=1)
    for row in shards.iter_rows():
        if row["unwritable"]:
            raise OSError(row["unwritable"])
        if row["deadly"]:
            raise UserError(f"{tasks[0].photos}: {row['deadly']}")
        yield ShardRecord.model_validate(json.loads(row["record"]))


def _write_row(row: dict[str, Any]) -> dict[str, str]:
    # Not Pydantic's own JSON: names of files need not be valid Unicode.
    task = ShardTask.model_validate(json.loads(row["task"]))
    result = {"record": "", "unwritable": "", "deadly": ""}
    try:
        with _attempt(task) as attempts:
            if attempts > _ATTEMPTS:
                first, last = (printable(file[0]) for file in (task.files[0], task.files[-1]))
                result["deadly"] = (
                    f"a worker died {attempts - 1} times at the files {first} to {last}; finished shards are "
                    "kept: go on with --resume and more memory, or remove the file that does it"
                )
            else:
                result["record"] = write_shard(task).to_json()
    except OSError as error:  # a full or write-protected disk: trying again would not help
        result["unwritable"] = error.strerror or str(error)
    return result


@contextmanager
def _attempt(task: ShardTask) -> Iterator[int]:
    """Counts how often a shard was begun and never ended.

    Ray Data starts a task whose worker died again, without end: a file that kills its worker would keep the
    build busy for ever. Marks in the bank's folder outlive the worker.
    """
    record = Path(task.bank) / task.record_path
    record.parent.mkdir(parents=True, exist_ok=True)
    mark = temporary_name(record.with_suffix(".attempt"))
    mark.touch()
    try:
        yield sum(1 for _ in record.parent.glob(f".{task.name}.attempt.*.tmp"))
    finally:
        mark.unlink(missing_ok=True)


def _absolute(task: ShardTask) -> ShardTask:
    """Workers have a working directory of their own."""
    places = {"photos": str(Path(task.photos).resolve()), "bank": str(Path(task.bank).resolve())}
    return task.model_copy(update=places)


def _quieten() -> None:
    """The records tell the progress, and errors are raised: Data's bars and logs would say both once more."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
