"""Paintings to photos, file by file: what is to be made, and making it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from art2real.data.lock import sole_builder
from art2real.data.sources import Entry
from art2real.data.sources.places import is_local, local_path
from art2real.errors import UsageError, UserError
from art2real.translation.encode import FORMATS, QUALITY
from art2real.translation.exported import is_exported
from art2real.translation.inputs import find_images
from art2real.translation.job import SIDE_BY_SIDE, DoPictures, Model, Picture, TranslationJob, weights_sha256
from art2real.translation.outputs import name_results
from art2real.translation.sizes import planned_size
from art2real.translation.translations import Made, go_on, read_made
from art2real.translation.translator import REMNANTS, in_process
from art2real.translation.weights import find_checkpoint, load_generator


@dataclass(frozen=True)
class Plan:
    """What is going to be made."""

    job: TranslationJob
    pictures: tuple[Picture, ...]
    """All images, in the order in which they were named; of some nothing may be missing."""
    unreadable: tuple[tuple[str, str], ...]
    """Folders, shards and rows of lists that could not be read, and why."""

    @property
    def to_do(self) -> list[Picture]:
        """The images of which something is missing, those of one size together, large ones last."""
        missing = [picture for picture in self.pictures if picture.missing]
        return sorted(missing, key=lambda each: (each.pixels or 0, each.size or (0, 0)))


@dataclass(frozen=True)
class Translated:
    """What `run_plan` did."""

    made: int
    """Images translated by this call."""
    kept: int
    """Images whose results were there already."""
    files: tuple[tuple[str, Path], ...]
    """Source and result of each translation, made or kept."""
    skipped: tuple[tuple[str, str], ...]
    """Each file that was left out, and why."""
    seconds: float


def plan_translation(
    inputs: Sequence[str],
    checkpoints: Mapping[str, Path],
    out: Path,
    *,
    image_format: str = "png",
    quality: int | None = None,
    side_by_side: bool = False,
    overwrite: bool = False,
    anonymous: bool = False,
) -> Plan:
    """Finds images, names their results, and sees what an earlier call has made; writes nothing.

    Args:
        inputs: see `find_images`.
        checkpoints: what `load_generator` takes, by name. The results of one go into `out`, those of several
            into a folder for each name.
        out: folder for the results, new or of an earlier call. A file that is in the way of a result is
            replaced, an input never.
        image_format: a key of `FORMATS`.
        quality: 1 to 100, of jpeg and webp; None: 95.
        side_by_side: whether each image is also shown beside its translations, in `out`/side-by-side.
        overwrite: whether results that are there are made anew.
        anonymous: whether object stores are asked without credentials.

    Raises:
        UserError: no input, no image, no checkpoint.
        UsageError: the results would replace inputs or each other, or png is given a quality.
    """
    if quality is not None and image_format == "png":
        raise UsageError(f"quality {quality}: png keeps every value; choose jpeg or webp")
    if side_by_side and len(checkpoints) > 1 and SIDE_BY_SIDE in checkpoints:
        raise UsageError(f"a checkpoint cannot be called {SIDE_BY_SIDE}: that is the folder of the pictures")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; choose another --out")
    found, unreadable = find_images(inputs, out, anonymous=anonymous)
    names = name_results(found, FORMATS[image_format])
    models = tuple(_model(name, path) for name, path in checkpoints.items())
    quality = None if image_format == "png" else quality or QUALITY
    job = TranslationJob(out, models, image_format, quality, side_by_side, anonymous)
    pictures = [
        Picture(each.entry, each.shown, _modified(each.entry), str(name), planned_size(each.entry), ())
        for each, name in zip(found, names, strict=True)
    ]
    _check_apart(job, pictures)
    made = {} if overwrite else read_made(out)
    planned = tuple(replace(each, missing=tuple(_missing(job, each, made))) for each in pictures)
    return Plan(job, planned, tuple(unreadable))


def run_plan(
    plan: Plan,
    *,
    do_pictures: DoPictures = in_process,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    on_skip: Callable[[str, str], None] = lambda source, reason: None,
) -> Translated:
    """Makes what is missing; each result is there whole or not at all, and is kept if the rest fails.

    Args:
        plan: see `plan_translation`.
        do_pictures: who makes it: this process, or a cluster (`art2real.distributed.translate_job`).
        on_progress: called with images that are done, by this call or an earlier one, and all.
        on_skip: called with each file that is left out, and why.

    Raises:
        UserError: results cannot be written, another process writes into the folder, or there is no result.
    """
    begun = time.perf_counter()
    out, to_do, total = plan.job.out, plan.to_do, len(plan.pictures)
    skipped: list[tuple[str, str]] = []
    failed: set[str] = set()

    def skip(source: str, reason: str) -> None:
        skipped.append((source, reason))
        on_skip(source, reason)

    for source, why in plan.unreadable:
        skip(source, f"unreadable: {why}")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with sole_builder(out):
            _remove_remnants(out)
            go_on(out, forget=[result for picture in to_do for result in picture.missing])
            kept = total - len(to_do)
            on_progress(kept, total)
            with closing(do_pictures(plan.job, to_do)) as arriving:
                for done, (picture, reason) in enumerate(arriving, kept + 1):
                    if reason:
                        failed.add(picture.name)
                        skip(picture.shown, reason)
                    on_progress(done, total)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror or error}") from None
    there = [picture for picture in plan.pictures if picture.name not in failed]
    if not there:
        source, reason = skipped[len(plan.unreadable)]
        raise UserError(f"none of the {total} images could be translated; {source}: {reason}")
    files = tuple(
        (picture.shown, out / plan.job.result(model, picture.name))
        for picture in there
        for model in plan.job.models
    )
    seconds = time.perf_counter() - begun
    return Translated(len(to_do) - len(failed), kept, files, tuple(skipped), seconds)


def _model(name: str, path: Path) -> Model:
    if not is_exported(path):
        path = find_checkpoint(path)  # of a run, the newest now
    generator = load_generator(path)
    width = next(generator.parameters()).shape[0]
    return Model(name, path, weights_sha256(generator), width)


def _modified(entry: Entry) -> int:
    if not is_local(entry.file):
        return 0
    try:
        return Path(local_path(entry.file)).stat().st_mtime_ns
    except (OSError, ValueError):  # whoever reads it says what is wrong
        return 0


def _check_apart(job: TranslationJob, pictures: Sequence[Picture]) -> None:
    """Refuses results that would replace an input, or a picture of another image."""
    inputs = {
        str(Path(local_path(picture.entry.file)).resolve())
        for picture in pictures
        if is_local(picture.entry.file) and "\0" not in picture.entry.file
    }
    results = [result for picture in pictures for result in job.results(picture)]
    for result in results:
        target = job.out / result
        if str(target.resolve()) in inputs:
            raise UsageError(
                f"--out {job.out} would replace {target}, which is an input; choose another folder"
            )
    if len(set(results)) < len(results):
        raise UsageError(
            f"the images have a folder called {SIDE_BY_SIDE}, the name of the folder of the pictures; rename "
            "it, or leave these out"
        )


def _missing(job: TranslationJob, picture: Picture, made: Mapping[str, tuple[Made, int]]) -> list[str]:
    """The results that are not there, or were made from something else."""
    missing = []
    for result, wanted in job.results(picture).items():
        there, size = made.get(result, (None, -1))
        try:
            if there != wanted or (job.out / result).stat().st_size != size:
                missing.append(result)
        except (OSError, ValueError):
            missing.append(result)
    return missing


def _remove_remnants(out: Path) -> None:
    """Removes what processes left behind that were killed while they wrote a result."""
    for path in out.rglob(REMNANTS):
        with suppress(OSError):
            path.unlink()
