"""What a bank's manifest says, put together from the records of its tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np

from art2real import __version__
from art2real.data.bank_writer import record_path
from art2real.data.corpus import printable
from art2real.data.duplicates import first_squares
from art2real.data.manifest import (
    FORMAT_VERSION,
    SKIPPED,
    BankSettings,
    Input,
    Manifest,
    ScaleInfo,
    ShardInfo,
    ShardRecord,
    Skipped,
    describe_file,
    digest,
    write_text,
)

_DECIDE_BYTES = ("numpy", "pillow", "pyarrow")


def make_manifest(
    bank: Path, settings: BankSettings, inputs: Iterable[Input], records: Mapping[int, ShardRecord]
) -> Manifest:
    """Writes `skipped.jsonl` and puts the manifest together, which is not written.

    Args:
        records: of all tasks of all inputs, by their number.
    """
    inputs, records = tuple(inputs), dict(sorted(records.items()))
    skipped = [file for record in records.values() for file in record.skipped]
    skipped += [file for each in inputs for file in each.unreadable]
    write_text(bank / SKIPPED, "".join(_line(file) for file in skipped))
    shards = tuple(shard for record in records.values() for shard in record.shards)
    return Manifest(
        format_version=FORMAT_VERSION,
        art2real=__version__,
        versions={name: version(name) for name in _DECIDE_BYTES},
        settings=settings,
        photos=sum(record.photos for record in records.values()),
        squares=sum(shard.photos for shard in shards),
        skipped=len(skipped),
        skipped_by_cause=dict(sorted(Counter(file.cause for file in skipped).items())),
        inputs=inputs,
        input_sha256=digest(_contents(bank, shards)),
        scales=_scales(settings, list(records.values())),
        shards=shards,
        records=tuple(describe_file(bank, record_path(number)) for number in records),
        skipped_file=describe_file(bank, SKIPPED),
    )


def _line(file: Skipped) -> str:
    return file.model_copy(update={"path": printable(file.path)}).model_dump_json() + "\n"


def _contents(bank: Path, shards: Iterable[ShardInfo]) -> Iterator[str]:
    for shard in shards:
        columns = first_squares(bank, shard)
        for source, sha256 in zip(columns["source"].to_pylist(), columns["sha256"].to_pylist(), strict=True):
            yield f"{sha256} {source}"


def _scales(settings: BankSettings, records: list[ShardRecord]) -> tuple[ScaleInfo, ...]:
    """Means from exact integer sums: however the photos are sharded, they are the same."""
    result = []
    for scale in settings.scales:
        rows = sum(shard.patches[scale.name].rows for record in records for shard in record.shards)
        sums = np.sum([np.array(record.sums[scale.name], np.uint64) for record in records], axis=0)
        mean = sums.astype(np.float64) / rows * (2 / 255) - 1
        result.append(
            ScaleInfo(size=scale.size, stride=scale.stride, patches=rows, mean=tuple(mean.tolist()))
        )
    return tuple(result)
