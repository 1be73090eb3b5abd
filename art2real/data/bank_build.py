"""Begins the build of a memory bank: lists its corpus and sees what is to be done of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from art2real.data.bank_run import Build, Progress, ShardWriter, Summary, disk_errors_of, serially
from art2real.data.bank_target import Mode, check_target, read_building, read_records, remove_bank, sweep
from art2real.data.bank_writer import ShardTask
from art2real.data.known import Known
from art2real.data.listing import LISTING, Listing, write_listing
from art2real.data.lock import sole_builder
from art2real.data.manifest import (
    BUILDING,
    FORMAT_VERSION,
    MANIFEST,
    BankSettings,
    Building,
    Input,
    Manifest,
    Skipped,
    read_manifest,
    write_text,
)
from art2real.data.sources import Source, open_source
from art2real.errors import UserError


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
            with disk_errors_of(out):
                out.mkdir(parents=True, exist_ok=True)
                stack.enter_context(sole_builder(out))
                build = _prepare(photos, out, settings, mode, anonymous, on_listed)
            yield build
    finally:
        if made:
            with suppress(OSError):  # it holds what was done
                out.rmdir()


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
    mending = building is None and finished is not None and mode == "resume"
    if mending:
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
    return Build(out, settings, before, now, inputs[number + 1 :] if mending else (), tasks)


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
