"""Builds a memory bank from a corpus of photos: list it, have its shards written, write the manifest.

Who writes the shards is a parameter: this process, one after the other, or a cluster
(`art2real.distributed.bank_job`). The result is the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from art2real.data.bank_files import why
from art2real.data.bank_manifest import make_manifest
from art2real.data.bank_target import Mode, check_target, read_building, read_records, remove_bank, sweep
from art2real.data.bank_writer import ShardTask, finished_record, write_shards
from art2real.data.duplicates import drop_photos, find_duplicates
from art2real.data.known import Known
from art2real.data.listing import LISTING, Listing, write_listing
from art2real.data.lock import sole_builder
from art2real.data.manifest import (
    BUILDING,
    DUPLICATE,
    FORMAT_VERSION,
    MANIFEST,
    BankSettings,
    Building,
    Input,
    Manifest,
    ShardRecord,
    Skipped,
    read_manifest,
    write_text,
)
from art2real.data.sources import Source, open_source
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


def build_bank(
    photos: Path | str | Source,
    out: Path,
    settings: BankSettings,
    *,
    mode: Mode = "new",
    anonymous: bool = False,
    max_bad: float = 0.05,
    on_progress: Progress | None = None,
    write: ShardWriter = serially,
) -> Summary:
    """Builds a memory bank, or adds to one, from beginning to end: see `begin` and `Build.run`."""
    with begin(photos, out, settings, mode=mode, anonymous=anonymous) as build:
        return build.run(write, max_bad=max_bad, on_progress=on_progress)


@contextmanager
def begin(
    photos: Path | str | Source,
    out: Path,
    settings: BankSettings,
    *,
    mode: Mode = "new",
    anonymous: bool = False,
    on_listed: Callable[[int], None] | None = None,
) -> Iterator[Build]:
    """Lists a corpus and sees what is to be done; nobody else can build in the folder meanwhile.

    Args:
        photos: what `open_source` takes, or what it gives.
        out: the bank's folder.
        settings: all that decides the bank's bytes beside the photos.
        mode: "new": the folder is new or empty; "resume": go on with an interrupted build or addition, or
            mend a finished bank with missing files; "overwrite": remove the bank that is there, but nothing
            that is no bank; "append": add the photos that a finished bank lacks, as new shards.
        anonymous: read remote files without credentials.
        on_listed: called with the files found so far.

    Raises:
        UserError: nothing to build from, nowhere to build to, or other files or settings than at first.
    """
    check_target(out, mode)
    if isinstance(photos, Path | str):
        photos = open_source(str(photos), leave_out=out, anonymous=anonymous)
    made = not out.exists()
    try:
        with ExitStack() as stack:
            with _named(out):
                out.mkdir(parents=True, exist_ok=True)
                stack.enter_context(sole_builder(out))
                build = _prepare(photos, out, settings, mode, anonymous, on_listed)
            yield build
    finally:
        if made:
            with suppress(OSError):  # it holds what was done
                out.rmdir()


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
        with _named(self.out):
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
def _named(out: Path) -> Iterator[None]:
    """Errors of the disk, as an error of the bank's folder."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {why(error)}") from None


def _prepare(
    source: Source,
    out: Path,
    settings: BankSettings,
    mode: Mode,
    anonymous: bool,
    on_listed: Callable[[int], None] | None,
) -> Build:
    building = read_building(out) if mode != "overwrite" else None
    finished = read_manifest(out) if mode != "overwrite" and (out / MANIFEST).is_file() else None
    old = building or finished
    difference = None if old is None else settings.difference(old.settings)
    if difference is not None:
        raise UserError(f"{out}: was begun with other settings ({difference}); use those, or --overwrite")
    if mode == "append" and building is not None and building.first_task == 0:
        raise UserError(f"{out}: is not finished; go on with it first (--resume)")
    # Which of the bank's inputs this one may be, by how many come before it, and what it must hold then.
    inputs = () if finished is None else finished.inputs
    if building is not None:
        places = [(sum(each.first_task < building.first_task for each in inputs), building.input_sha256)]
    elif mode == "append" or finished is None:
        places = [(len(inputs), "")]
    else:
        places = [(number, each.input_sha256) for number, each in enumerate(inputs)]
    try:
        for number, expected in places:
            before = inputs[:number]
            listing = _list(source, out, settings, finished, before, on_listed)
            if expected in ("", listing.input_sha256):
                break
        else:
            raise UserError(
                f"{out}: the files of {source.origin} have changed since it was begun; "
                + (
                    "use --append to add the new ones, or --overwrite"
                    if building is None
                    else "use --overwrite"
                )
            )
        if not listing.files and not before:
            raise UserError(_no_images(source))
    except BaseException:
        if building is None:
            (out / LISTING).unlink(missing_ok=True)
        raise
    now = Input(
        origin=source.origin,
        files=listing.files,
        not_images=source.not_images,
        unreadable=tuple(
            Skipped(path=path, cause="unreadable", detail=reason) for path, reason in source.unreadable
        ),
        input_sha256=listing.input_sha256,
        first_task=before[-1].first_task + before[-1].tasks if before else 0,
        tasks=len(listing.tasks),
    )
    if building is None and finished is not None and mode == "resume":
        now = inputs[number]  # where it lay when the bank was built
    elif listing.files:
        mark = Building(
            format_version=FORMAT_VERSION,
            settings=settings,
            origin=now.origin,
            input_sha256=now.input_sha256,
            first_task=now.first_task,
        )
        write_text(out / BUILDING, mark.to_json())
    if mode == "overwrite":
        remove_bank(out)
    sweep(out)
    tasks = [
        ShardTask(
            bank=str(out),
            number=now.first_task + each,
            listed=each,
            files=files,
            input_sha256=sha256,
            settings=settings,
            anonymous=anonymous,
        )
        for each, (files, sha256) in enumerate(listing.tasks)
    ]
    return Build(out, settings, before, now, inputs[number + 1 :], tasks)


def _list(
    source: Source,
    out: Path,
    settings: BankSettings,
    finished: Manifest | None,
    before: Sequence[Input],
    on_listed: Callable[[int], None] | None,
) -> Listing:
    """Lists what the inputs of the same origin `before` have not brought already."""
    entries = source.entries()
    same = [each for each in before if each.origin == source.origin]
    if finished is not None and same:
        known = Known(out, read_records(out, same).values())
        entries = (entry for entry in source.entries() if not known.has(entry))
    return write_listing(out, entries, settings.photos_per_shard, on_listed)


def _no_images(source: Source) -> str:
    what = (
        f"none of its {source.not_images} files looks like an image" if source.not_images else "has no files"
    )
    if source.unreadable:
        path, reason = source.unreadable[0]
        what += f", and {len(source.unreadable)} cannot be read ({path}: {reason})"
    return f"{source.origin}: {what}; give a corpus with images"


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
