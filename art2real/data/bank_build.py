"""Builds a memory bank from a folder of photos: plan its shards, have them written, write the manifest.

Who writes the shards is a parameter: this process, one after the other, or a cluster
(`art2real.distributed.bank_job`). The result is the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from art2real import __version__
from art2real.data.bank_target import check_target, prepare, remove_bank, sweep
from art2real.data.bank_writer import ShardTask, corpus_sha256, finished_record, write_shard
from art2real.data.checksums import file_xxh3
from art2real.data.corpus import Corpus, list_corpus, printable
from art2real.data.manifest import (
    BUILDING,
    FORMAT_VERSION,
    MANIFEST,
    SKIPPED,
    BankSettings,
    Manifest,
    ScaleInfo,
    ShardInfo,
    ShardRecord,
    Skipped,
    describe_file,
    digest,
    read_manifest,
    write_text,
)
from art2real.errors import UserError

FEW_FILES = 100
"""`max_bad` is not applied to a smaller corpus: there a few odd files are a large share."""

Progress = Callable[[int, int], None]
ShardWriter = Callable[[list[ShardTask]], Generator[ShardRecord, None, None]]


@dataclass(frozen=True)
class Summary:
    """What a build did."""

    manifest: Manifest
    shards_written: int
    shards_kept: int
    """Shards that an earlier, interrupted build had finished."""


def serially(tasks: list[ShardTask]) -> Generator[ShardRecord, None, None]:
    """Writes shards one after the other in this process."""
    for task in tasks:
        yield write_shard(task)


def build_bank(
    photos: Path | Corpus,
    out: Path,
    settings: BankSettings,
    *,
    resume: bool = False,
    overwrite: bool = False,
    max_bad: float = 0.05,
    on_progress: Progress | None = None,
    write: ShardWriter = serially,
) -> Summary:
    """Builds a memory bank in the folder `out`.

    Args:
        photos: the folder of the corpus, or its listing.
        out: the bank's folder; new or empty unless `resume` or `overwrite` is given.
        settings: all that decides the bank's bytes beside the photos.
        resume: keep the finished shards of an interrupted build, write those that are missing.
        overwrite: remove the bank that is there; anything that is not a bank is never removed.
        max_bad: the build ends if more than this share of at least 100 files cannot be used.
        on_progress: called with files done and files in all.
        write: writes the shards it is given and yields their records, in any order.

    Raises:
        UserError: nothing to build from, nowhere to build to, or too many bad files (finished shards stay).
        UsageError: both `resume` and `overwrite`.
    """
    corpus = photos if isinstance(photos, Corpus) else list_corpus(photos, leave_out=out)
    check_target(corpus, out, settings, resume=resume, overwrite=overwrite)
    tasks = plan(corpus, out, settings)
    tally = _Tally(corpus, max_bad, on_progress)
    records: dict[int, ShardRecord] = {}
    missing: dict[str, ShardTask] = {}
    try:
        prepare(corpus, out, settings, anew=overwrite)
        for task in tasks:
            record = finished_record(task)
            if record is None:
                missing[task.corpus_sha256] = task
            else:
                records[task.number] = record
                tally.add(task, record)
        kept = len(records)
        if missing:
            with closing(write(list(missing.values()))) as arriving:
                for record in arriving:
                    task = missing[record.corpus_sha256]
                    records[task.number] = record
                    tally.add(task, record)
        manifest = _finish(corpus, out, settings, [(task, records[task.number]) for task in tasks])
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror or error}") from None
    return Summary(manifest, len(missing), kept)


def plan(corpus: Corpus, out: Path, settings: BankSettings) -> list[ShardTask]:
    """The shards of a bank: runs of `photos_per_shard` files in the order of their paths."""
    step = settings.photos_per_shard
    return [
        ShardTask(
            photos=str(corpus.root),
            bank=str(out),
            number=number,
            files=corpus.files[first : first + step],
            settings=settings,
        )
        for number, first in enumerate(range(0, len(corpus.files), step))
    ]


def expected_bytes(photos: int, settings: BankSettings) -> int:
    """Bytes of a bank of so many photos, without its index, to within a few per cent."""
    side = settings.image_size
    place = 2 * np.min_scalar_type(side - 1).itemsize
    patches = sum(rows * columns for rows, columns in (scale.grid(side, side) for scale in settings.scales))
    return photos * (3 * side * side + place * patches)


def verify(bank: Path, on_progress: Progress | None = None) -> list[str]:
    """Compares every file of a bank with its checksum; returns the paths of those missing or damaged.

    Raises:
        UserError: there is no finished bank, or the manifest itself is damaged.
    """
    entries = read_manifest(bank).files
    damaged = []
    for number, entry in enumerate(entries):
        path = bank / entry.path
        if not path.is_file() or path.stat().st_size != entry.bytes or file_xxh3(path) != entry.checksum:
            damaged.append(entry.path)
        if on_progress is not None:
            on_progress(number + 1, len(entries))
    return damaged


class _Tally:
    """Counts files as their shards arrive; ends the build when too many are bad."""

    def __init__(self, corpus: Corpus, max_bad: float, on_progress: Progress | None) -> None:
        self._corpus, self._max_bad, self._on_progress = corpus, max_bad, on_progress
        self._done = 0
        self._causes: Counter[str] = Counter()

    def add(self, task: ShardTask, record: ShardRecord) -> None:
        self._done += len(task.files)
        self._causes.update(skipped.cause for skipped in record.skipped)
        if self._on_progress is not None:
            self._on_progress(self._done, len(self._corpus.files))
        bad, total = self._causes.total(), len(self._corpus.files)
        if total >= FEW_FILES and bad > self._max_bad * total:
            raise UserError(
                f"{self._corpus.root}: {bad} of {total} files cannot be used ({in_words(self._causes)}), "
                f"more than --max-bad {self._max_bad:g}; finished shards are kept: raise it and go on "
                "with --resume"
            )


def _finish(
    corpus: Corpus, out: Path, settings: BankSettings, done: list[tuple[ShardTask, ShardRecord]]
) -> Manifest:
    skipped = [file for _, record in done for file in record.skipped]
    skipped += [
        Skipped(path=path, cause="unreadable", detail="the folder cannot be read")
        for path in corpus.unreadable
    ]
    causes = Counter(file.cause for file in skipped)
    shards = tuple(record.shard for _, record in done if record.shard is not None)
    if not shards:
        remove_bank(out)
        (out / BUILDING).unlink()
        with suppress(OSError):  # someone else's files are in it
            out.rmdir()
        raise UserError(
            f"{corpus.root}: not one of its {len(corpus.files)} images can be used ({in_words(causes)})"
        )
    write_text(out / SKIPPED, "".join(_line(file) for file in skipped))
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        art2real=__version__,
        settings=settings,
        photos=sum(shard.photos for shard in shards),
        skipped=len(skipped),
        skipped_by_cause=dict(sorted(causes.items())),
        not_images=corpus.not_images,
        corpus_sha256=corpus_sha256(corpus.files),
        input_sha256=digest(_inputs(out, shards)),
        scales=_scales(settings, [record for _, record in done]),
        shards=shards,
        records=tuple(describe_file(out, task.record_path) for task, _ in done),
        skipped_file=describe_file(out, SKIPPED),
    )
    sweep(out)
    write_text(out / MANIFEST, manifest.to_json())
    (out / BUILDING).unlink(missing_ok=True)
    return manifest


def _line(file: Skipped) -> str:
    text = file.model_copy(update={"path": printable(file.path)}).model_dump_json()
    return text + "\n"


def _inputs(out: Path, shards: Iterable[ShardInfo]) -> Iterator[str]:
    for shard in shards:
        with pa.memory_map(str(out / shard.photos_file.path)) as file:
            batch = pa.ipc.open_file(file).get_batch(0)
        for source, sha256 in zip(batch["source"].to_pylist(), batch["sha256"].to_pylist(), strict=True):
            yield f"{sha256} {source}"


def _scales(settings: BankSettings, records: list[ShardRecord]) -> tuple[ScaleInfo, ...]:
    result = []
    for scale in settings.scales:
        rows = sum(record.shard.patches[scale.name].rows for record in records if record.shard is not None)
        sums = np.sum([np.array(record.sums[scale.name], np.uint64) for record in records], axis=0)
        mean = sums.astype(np.float64) / rows * (2 / 255) - 1
        result.append(
            ScaleInfo(size=scale.size, stride=scale.stride, patches=rows, mean=tuple(mean.tolist()))
        )
    return tuple(result)


def in_words(causes: Mapping[str, int]) -> str:
    """Numbers of skipped files by their cause, for people."""
    return ", ".join(f"{count} {cause.replace('_', ' ')}" for cause, count in sorted(causes.items()))
