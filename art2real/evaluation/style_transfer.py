"""Style transfer as the baseline: a folder of photos stylised by a folder of paintings."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from art2real.data.corpus import list_images, printable
from art2real.data.images import BadImage, decode
from art2real.data.lock import sole_builder
from art2real.data.manifest import write_text
from art2real.errors import UsageError, UserError
from art2real.evaluation.style_pairs import (
    PAIRS,
    LeftOut,
    Pair,
    Pairs,
    StyleSettings,
    listing_sha256,
    pair_up,
    read_pairs,
)
from art2real.evaluation.stylist import StyleJob, in_process, style_features
from art2real.evaluation.weights import Weights
from art2real.versions import versions

_PACKAGES = ("numpy", "pillow", "scipy", "torch", "torchvision")

DoPairs = Callable[[StyleJob, Sequence[Pair]], Iterator[tuple[Pair, str]]]
"""Makes results; yields each pair with why it could not be made, or nothing, in any order."""

# What is left of a file, or of an attempt at one, whose process was killed; see `temporary_name`.
_REMNANT = re.compile(r"\.(?P<name>.+?)(\.attempt)?\.[0-9a-f]{32}\.tmp")


@dataclass(frozen=True)
class Plan:
    """What is going to be made."""

    job: StyleJob
    pairs: Pairs
    """The record: of the folder of results if it has been begun already, else a new one."""
    begun: bool
    replaced: tuple[Path, ...]
    """Results of an earlier call that are removed first."""
    kept: tuple[Pair, ...]
    """Those whose results are there."""
    missing: tuple[Pair, ...]


@dataclass(frozen=True)
class Stylised:
    """What `stylise_folder` did."""

    made: int
    kept: int
    skipped: tuple[tuple[str, str], ...]
    """Each photo that was left out, and why."""
    seconds: float


def plan_transfer(
    content: Path,
    style: Path,
    out: Path,
    settings: StyleSettings,
    weights: Weights,
    *,
    overwrite: bool = False,
    on_checked: Callable[[int, int], None] = lambda done, total: None,
) -> Plan:
    """Pairs photos with paintings, or finds how far an earlier call came; writes nothing.

    Every painting is decoded before it is given to a photo; one that cannot be used is left out.

    Args:
        content: folder of photos.
        style: folder of paintings.
        out: folder for the results and `pairs.json`.
        settings: what decides the results.
        weights: of VGG-19.
        overwrite: whether results of an earlier call are made anew, whatever its settings were.
        on_checked: called with paintings decoded and all of them.

    Raises:
        UserError: a folder or the weights cannot be used, no painting can, or `out` was begun with other
            settings or holds files of the results' names that are not results.
        UsageError: the results would lie between the inputs.
    """
    for option, folder in (("--content", content), ("--style", style)):
        if out.resolve() == folder.resolve():
            raise UsageError(f"--out {out} is {option} too; choose another folder")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; choose another --out")
    # The results may lie inside of one of the folders.
    contents, styles = (list_images(folder, leave_out=out) for folder in (content, style))
    asked = Pairs(
        versions=versions(_PACKAGES),
        settings=settings,
        weights_sha256=weights.sha256,
        published=weights.published,
        content=printable(str(content)),
        style=printable(str(style)),
        content_sha256=listing_sha256(content, contents),
        style_sha256=listing_sha256(style, styles),
        left_out=(),
        pairs=(),
    )
    job = StyleJob(content, style, out, settings, weights)
    there = read_pairs(out)
    if there is not None and not overwrite:
        return _continued(job, there, asked)
    style_features(weights)  # refuses weights of another network before anything is written
    left_out = _unusable(style, styles, on_checked)
    usable = [name for name in styles if name not in left_out]
    if not usable:
        name, reason = next(iter(left_out.items()))
        raise UserError(
            f"{style}: none of its {len(styles)} paintings can be used; {printable(name)}: {reason}"
        )
    pairs = tuple(pair_up(contents, usable, settings.seed))
    replaced = tuple(out / pair.result for pair in there.pairs) if there is not None else ()
    _check_targets([out / pair.result for pair in pairs], replaced)
    named = tuple(LeftOut(style=name, reason=reason) for name, reason in left_out.items())
    record = asked.model_copy(update={"left_out": named, "pairs": pairs})
    return Plan(job, record, False, replaced, (), pairs)


def _continued(job: StyleJob, there: Pairs, asked: Pairs) -> Plan:
    """What is left to do of what an earlier call began."""
    difference = there.difference(asked)
    if difference is not None:
        raise UserError(
            f"{job.out}: was begun with {difference}; choose another --out, or make it anew with --overwrite"
        )
    kept = tuple(pair for pair in there.pairs if (job.out / pair.result).is_file())
    made = set(kept)
    missing = tuple(pair for pair in there.pairs if pair not in made)
    return Plan(job, there, True, (), kept, missing)


def stylise_folder(
    plan: Plan,
    *,
    do_pairs: DoPairs = in_process,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    on_skip: Callable[[str, str], None] = lambda photo, reason: None,
) -> Stylised:
    """Makes the results that are missing; each is there whole or not at all.

    Args:
        plan: see `plan_transfer`.
        do_pairs: who makes them.
        on_progress: called with photos that are done, in this call or an earlier one, and all.
        on_skip: called with each photo that is left out, and why.

    Raises:
        UserError: the folder cannot be written, another process works in it, or there is no result at all.
    """
    start = time.perf_counter()
    out, total = plan.job.out, len(plan.pairs.pairs)
    skipped: list[tuple[str, str]] = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        with sole_builder(out):
            _prepare(plan)
            on_progress(len(plan.kept), total)
            try:
                for done, (pair, reason) in enumerate(do_pairs(plan.job, plan.missing), len(plan.kept) + 1):
                    if reason:
                        skipped.append((pair.content, reason))
                        on_skip(*skipped[-1])
                    on_progress(done, total)
            finally:
                _remove_remnants(plan)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror or error}") from None
    made = len(plan.missing) - len(skipped)
    if not made and not plan.kept:
        photo, reason = skipped[0]
        raise UserError(f"none of the {len(skipped)} photos could be stylised; {printable(photo)}: {reason}")
    return Stylised(made, len(plan.kept), tuple(skipped), time.perf_counter() - start)


def _unusable(folder: Path, names: Sequence[str], on_checked: Callable[[int, int], None]) -> dict[str, str]:
    """Images that cannot be decoded, and why."""

    def look_at(name: str) -> str:
        try:
            decode(folder / name)
        except BadImage as bad:
            return bad.detail
        return ""

    found = {}
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        for number, (name, reason) in enumerate(zip(names, pool.map(look_at, names), strict=True), 1):
            if reason:
                found[name] = reason
            on_checked(number, len(names))
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def _check_targets(targets: Sequence[Path], replaced: Sequence[Path]) -> None:
    ours = set(replaced)
    foreign = next((path for path in targets if path not in ours and path.exists()), None)
    if foreign is not None:
        raise UserError(f"{foreign}: is there already and no result of style-transfer; choose another --out")


def _prepare(plan: Plan) -> None:
    """Removes what an earlier call left and is not wanted, and writes the record of a new folder."""
    out = plan.job.out
    for path in plan.replaced:
        path.unlink(missing_ok=True)
    _remove_remnants(plan)
    if not plan.begun:
        write_text(out / PAIRS, plan.pairs.to_json())


def _remove_remnants(plan: Plan) -> None:
    """Removes what processes left behind that were killed while they made a result."""
    out = plan.job.out
    names = {out / pair.result for pair in plan.pairs.pairs} | set(plan.replaced)
    for path in out.rglob(".*.tmp"):
        remnant = _REMNANT.fullmatch(path.name)
        if remnant is not None and path.with_name(remnant["name"]) in names:
            path.unlink(missing_ok=True)
