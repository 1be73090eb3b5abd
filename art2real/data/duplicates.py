"""Photos that are in a corpus more than once: the first stays, by the order of the corpus.

Which one is the first can only be told when all have been read. So shards are written with every photo, and
those that turn out to hold a copy are written again without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from art2real.core.scale import Scale
from art2real.data.bank_files import add_patch_sums, read_table, write_tables
from art2real.data.bank_writer import ShardTask, write_record, write_shards
from art2real.data.manifest import DUPLICATE, ShardInfo, ShardRecord, Skipped


def find_duplicates(bank: Path, records: dict[int, ShardRecord]) -> dict[int, list[tuple[int, str]]]:
    """By number of the task: its photos that equal an earlier one, counted within the task, and whose copies
    they are.

    Args:
        records: of all tasks, by their number.
    """
    hashes: list[np.ndarray] = []
    tasks: list[np.ndarray] = []
    sources: list[pa.Array] = []
    for number, record in sorted(records.items()):
        for shard in record.shards:
            columns = first_squares(bank, shard)
            digits = "".join(columns["sha256"].to_pylist())
            hashes.append(np.frombuffer(bytes.fromhex(digits), "V32"))
            tasks.append(np.full(columns.num_rows, number))
            sources.append(columns["source"])
    if not hashes:
        return {}
    task_of, names = np.concatenate(tasks), pa.chunked_array(sources)
    _, first, which = np.unique(np.concatenate(hashes), return_index=True, return_inverse=True)
    earliest = first[which.ravel()]
    first_of_task = {
        int(task): int(row) for task, row in zip(*np.unique(task_of, return_index=True), strict=True)
    }
    found: dict[int, list[tuple[int, str]]] = {}
    for row in np.flatnonzero(earliest != np.arange(len(earliest))).tolist():
        task = int(task_of[row])
        found.setdefault(task, []).append((row - first_of_task[task], names[int(earliest[row])].as_py()))
    return found


def first_squares(bank: Path, shard: ShardInfo) -> pa.RecordBatch:
    """The columns of a shard without pixels, one row for each photo that begins in it."""
    batch = read_table(bank / shard.photos_file.path)
    batch = batch.drop_columns(["pixels"])
    return batch.filter(pc.equal(batch["tile"], 0))


def drop_photos(task: ShardTask) -> ShardRecord:
    """Writes the shards of a task again without the photos of its `drop`, and its record.

    Raises:
        OSError: the bank cannot be written to.
    """
    bank, settings = Path(task.bank), task.settings
    record = write_shards(task)  # which are there, if nothing was damaged in between
    copies = dict(task.drop)
    sums = {scale: np.zeros(scale.dimension, np.uint64) for scale in settings.scales}
    shards: list[ShardInfo] = []
    skipped: list[Skipped] = []
    for shard, photo, batch in _photos(bank, record):
        starts = np.asarray(batch["tile"]) == 0
        keep = ~np.isin(photo, list(copies))
        skipped += [
            Skipped(
                path=batch["source"][row].as_py(),
                bytes=batch["bytes"][row].as_py(),
                cause=DUPLICATE,
                detail=f"the same bytes as {copies[int(photo[row])]}",
            )
            for row in np.flatnonzero(starts & ~keep).tolist()
        ]
        classes = {scale: _classes(bank, shard, scale, keep) for scale in settings.scales}
        kept = batch.take(pa.array(np.flatnonzero(keep)))
        if not kept.num_rows:
            for entry in shard.files:
                (bank / entry.path).unlink()
            continue
        add_patch_sums(sums, kept["pixels"].to_numpy_ndarray())
        given = {scale: found for scale, found in classes.items() if found is not None}
        shards.append(write_tables(bank, shard.name, settings, kept, given or None))
    record = record.model_copy(
        update={
            "photos": record.photos - len(skipped),
            "shards": tuple(shards),
            "sums": {scale.name: tuple(values.tolist()) for scale, values in sums.items()},
            "skipped": (*record.skipped, *skipped),
        }
    )
    write_record(task, record)
    return record


def _photos(bank: Path, record: ShardRecord) -> Iterator[tuple[ShardInfo, np.ndarray, pa.RecordBatch]]:
    """The shards of a task, each with the number within the task of the photo of each of its squares."""
    begun = 0
    for shard in record.shards:
        batch = read_table(bank / shard.photos_file.path)
        starts = np.asarray(batch["tile"]) == 0
        yield shard, begun + np.cumsum(starts) - 1, batch
        begun += int(starts.sum())


def _classes(bank: Path, shard: ShardInfo, scale: Scale, keep: np.ndarray) -> np.ndarray | None:
    batch = read_table(bank / shard.patches[scale.name].path)
    if "class" not in batch.schema.names:
        return None
    return np.asarray(batch["class"]).reshape(len(keep), -1)[keep].ravel()
