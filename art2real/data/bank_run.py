"""Runs a build of a memory bank that was begun: shards, copies, manifest.

Who writes the shards is a parameter: this process, one after the other, or a cluster
(`art2real.distributed.bank_job`). The result is the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from art2real.data.bank_files import why
from art2real.data.bank_manifest import make_manifest
from art2real.data.bank_target import read_records, remove_bank, sweep
from art2real.data.bank_writer import ShardTask, finished_record, write_shards
from art2real.data.duplicates import drop_photos, find_duplicates
from art2real.data.listing import LISTING
from art2real.data.manifest import (
    BUILDING,
    DUPLICATE,
    MANIFEST,
    BankSettings,
    Input,
    Manifest,
    ShardRecord,
    write_text,
)
from art2real.errors import UserError

FEW_FILES = 100
"""`max_bad` is not applied to a smaller corpus: there a few odd files are a large share."""

Progress = Callable[[int, int, int], None]
"""Called with files done, files in all, and files skipped."""
ShardWriter = Callable[[list[ShardTask]], Generator[tuple[int, ShardRecord], None, None]]
"""Does tasks and yields their numbers and records, in any order."""


@dataclass(frozen=True)
class Summary:
    """What a build did."""

    manifest: Manifest
    tasks_done: int
    tasks_kept: int
    """Tasks that an earlier, interrupted build had done."""


def do_task(task: ShardTask) -> ShardRecord:
    """Writes the shards of a task, or writes them again without the photos that it says to drop."""
    return drop_photos(task) if task.drop else write_shards(task)


def serially(tasks: list[ShardTask]) -> Generator[tuple[int, ShardRecord], None, None]:
    """Does tasks one after the other in this process."""
    for task in tasks:
        yield task.number, do_task(task)


class Build:
    """A build that was begun: its corpus is listed, and what is done of it is known."""

    def __init__(
        self,
        out: Path,
        settings: BankSettings,
        before: Sequence[Input],
        now: Input,
        after: Sequence[Input],
        tasks: list[ShardTask],
    ) -> None:
        """`before`, `after`: the bank's inputs that are not touched; `now`: the one that `tasks` make."""
        self.out = out
        self.settings = settings
        self.inputs = (*before, now, *after)
        self.now = now
        self.tasks = tasks
        self.done: dict[int, ShardRecord] = {}
        for task in tasks:
            record = finished_record(task)
            if record is not None:
                self.done[task.number] = record

    @property
    def missing(self) -> list[ShardTask]:
        """Tasks that are yet to be done."""
        return [task for task in self.tasks if task.number not in self.done]

    def run(
        self, write: ShardWriter = serially, *, max_bad: float = 0.05, on_progress: Progress | None = None
    ) -> Summary:
        """Has the missing shards written, leaves copies out, and writes the manifest.

        Args:
            write: does the tasks it is given.
            max_bad: the build ends if more than this share of at least 100 files cannot be used.
            on_progress: called as tasks are done.

        Raises:
            UserError: too many bad files (what is done stays), or the folder cannot be written to.
        """
        with disk_errors_of(self.out):
            kept = len(self.done)
            if self.tasks:
                self._write_missing(write, _Tally(self.now, max_bad, on_progress))
                self._drop_copies(write)
            return Summary(self._finish(), len(self.tasks) - kept, kept)

    def _write_missing(self, write: ShardWriter, tally: _Tally) -> None:
        files = {task.number: task.files for task in self.tasks}
        for number, record in self.done.items():
            tally.add(files[number], record)
        if self.missing:
            with closing(write(self.missing)) as arriving:
                for number, record in arriving:
                    self.done[number] = record
                    tally.add(files[number], record)

    def _drop_copies(self, write: ShardWriter) -> None:
        records = self._all_records()
        drop = find_duplicates(self.out, records)
        again = [
            task.model_copy(update={"drop": tuple(drop[task.number])})
            for task in self.tasks
            if task.number in drop
        ]
        if again:
            with closing(write(again)) as arriving:
                self.done.update(arriving)

    def _all_records(self) -> dict[int, ShardRecord]:
        others = [each for each in self.inputs if each is not self.now]
        return {**read_records(self.out, others), **self.done}

    def _finish(self) -> Manifest:
        records = self._all_records()
        if not any(record.shards for record in records.values()):
            causes = Counter(file.cause for record in records.values() for file in record.skipped)
            remove_bank(self.out)
            self._unmark()
            raise UserError(
                f"{self.now.origin}: not one of its {self.now.files} images can be used ({in_words(causes)})"
            )
        # An addition that found nothing new leaves no trace.
        inputs = [each for each in self.inputs if each is not self.now or self.tasks]
        manifest = make_manifest(self.out, self.settings, inputs, records)
        sweep(self.out)
        write_text(self.out / MANIFEST, manifest.to_json())
        self._unmark()
        return manifest

    def _unmark(self) -> None:
        for name in (BUILDING, LISTING):
            (self.out / name).unlink(missing_ok=True)


@contextmanager
def disk_errors_of(out: Path) -> Iterator[None]:
    """Errors of the disk, as an error of the bank's folder."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {why(error)}") from None


class _Tally:
    """Counts files as their tasks are done; ends the build when too many are bad."""

    def __init__(self, now: Input, max_bad: float, on_progress: Progress | None) -> None:
        self._now, self._max_bad, self._on_progress = now, max_bad, on_progress
        self._done = 0
        self._causes: Counter[str] = Counter()

    def add(self, files: int, record: ShardRecord) -> None:
        self._done += files
        self._causes.update(skipped.cause for skipped in record.skipped)
        total = self._now.files
        if self._on_progress is not None:
            self._on_progress(self._done, total, self._causes.total())
        bad = self._causes.total() - self._causes[DUPLICATE]
        if total >= FEW_FILES and bad > self._max_bad * total:
            raise UserError(
                f"{self._now.origin}: {bad} of {total} files cannot be used ({in_words(self._causes)}), "
                f"more than --max-bad {self._max_bad:g}; finished shards are kept: raise it and go on "
                "with --resume"
            )


def in_words(causes: Mapping[str, int]) -> str:
    """Numbers of skipped files by their cause, for people."""
    return ", ".join(
        f"{count:,} {cause.replace('_', ' ')}" for cause, count in sorted(causes.items()) if count
    )
