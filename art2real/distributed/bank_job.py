"""Does the tasks of a memory bank on a Ray cluster: a Ray Data job in which one row is one task."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from art2real.data.bank_files import why
from art2real.data.bank_run import do_task
from art2real.data.bank_writer import ShardTask
from art2real.data.corpus import printable
from art2real.data.listing import read_listing
from art2real.data.manifest import ShardRecord, temporary_name
from art2real.distributed.data_rows import rows_as_made, work_on_rows
from art2real.errors import UserError

_ATTEMPTS = 3
"""Times that a task is begun before its files are held to be what kills the workers."""

_SHARDS_TOGETHER = 8
"""Shards to a task of Data: starting one takes as long as a tenth of a shard, and no other shard's photos are
decoded while the files of its last one are written."""
_GROUPS_PER_CPU = 4
"""Tasks of Data to a CPU, at least, where there are as many shards: the last ones end at different times."""


def write_on_cluster(tasks: list[ShardTask]) -> Generator[tuple[int, ShardRecord], None, None]:
    """Does tasks on the cluster, one CPU each; yields their numbers and records as they are done.

    Ray has to be initialised, and the bank's folder the same on every node. The `write` of `Build.run`.

    Raises:
        OSError: a shard could not be written.
        UserError: a task's worker died again and again.
    """
    work_on_rows()
    rows = [{"task": _absolute(task).model_dump_json()} for task in tasks]
    cpus = int(max(1, ray.cluster_resources().get("CPU", 1)))
    groups = min(len(rows), max(_GROUPS_PER_CPU * cpus, -(-len(rows) // _SHARDS_TOGETHER)))
    done = ray.data.from_items(rows, override_num_blocks=groups).map_batches(
        _do_rows, batch_size=None, num_cpus=1
    )
    for row in rows_as_made(done):
        if row["unwritable"]:
            raise OSError(row["unwritable"])
        if row["error"]:
            raise UserError(row["error"])
        yield row["number"], ShardRecord.model_validate(json.loads(row["record"]))


def _do_rows(rows: dict[str, Any]) -> Iterator[dict[str, list[Any]]]:
    tasks = [ShardTask.model_validate_json(task) for task in rows["task"]]
    # While the files of one are written, the photos of the next are decoded. But where a worker died before,
    # one has to know at which.
    with ThreadPoolExecutor(1 if any(map(_attempts, tasks)) else 2) as pool:
        for done in pool.map(_do, tasks):
            yield {name: [value] for name, value in done.items()}


def _do(task: ShardTask) -> dict[str, Any]:
    result = {"number": task.number, "record": "", "unwritable": "", "error": ""}
    try:
        with _attempt(task) as attempts:
            if attempts > _ATTEMPTS:
                entries = read_listing(Path(task.bank), task.listed)
                first, last = (printable(entry.source) for entry in (entries[0], entries[-1]))
                result["error"] = (
                    f"a worker died {attempts - 1} times at the files {first} to {last}; finished shards are "
                    "kept: go on with --resume and more memory, or remove the file that does it"
                )
            else:
                # Not Pydantic's own JSON: names of files need not be valid Unicode.
                result["record"] = do_task(task).to_json()
    except UserError as error:
        result["error"] = str(error)
    except OSError as error:  # a full or write-protected disk: trying again would not help
        result["unwritable"] = why(error)
    return result


@contextmanager
def _attempt(task: ShardTask) -> Iterator[int]:
    """Counts how often a task was begun and never ended.

    Ray Data starts a task whose worker died again, without end: a file that kills its worker would keep the
    build busy for ever. Marks in the bank's folder outlive the worker.
    """
    mark = temporary_name((_records(task) / task.name).with_suffix(".attempt"))
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    try:
        yield _attempts(task)
    finally:
        mark.unlink(missing_ok=True)


def _attempts(task: ShardTask) -> int:
    """Marks of a task that there are."""
    return sum(1 for _ in _records(task).glob(f".{task.name}.attempt.*.tmp"))


def _records(task: ShardTask) -> Path:
    return (Path(task.bank) / task.record_path).parent


def _absolute(task: ShardTask) -> ShardTask:
    """Workers have a working directory of their own."""
    return task.model_copy(update={"bank": str(Path(task.bank).resolve())})
