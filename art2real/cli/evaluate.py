"""`art2real-cli evaluate`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from art2real.cli.common import address_option, counted, emit, human_seconds, json_option, progress
from art2real.cli.feature_source import FeatureSource, feature_options
from art2real.errors import UsageError, UserError

if TYPE_CHECKING:
    from art2real.evaluation.sets import ImageSet
    from art2real.translation.job import DoPictures

_PACKAGES = ("torch", "torch-fidelity", "numpy", "scipy", "pillow", "ray")


@click.command()
@click.option(
    "--real",
    "reals",
    metavar="[ARTIST=]DIR",
    multiple=True,
    required=True,
    help="Photos that all sets are compared with; with ARTIST=, those for the sets of one artist.",
)
@click.option(
    "--set",
    "sets",
    metavar="[ARTIST/]NAME=DIR",
    multiple=True,
    help="Images to compare with the photos, and the name of their row; may be repeated.",
)
@click.option(
    "--checkpoint",
    "checkpoints",
    metavar="[ARTIST/]NAME=CKPT",
    multiple=True,
    help="Translate --paintings with it first; they become the set NAME. May be repeated.",
)
@click.option(
    "--paintings",
    metavar="[ARTIST=]DIR",
    multiple=True,
    help="Paintings to translate, and to show beside the sets that have images of their names.",
)
@click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path), required=True, help="Folder of the results."
)
@click.option(
    "--resamples",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Bootstrap resamples behind each interval; 0: no intervals.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of resamples and subsets."
)
@feature_options("inception")
@address_option
@json_option
@click.option("--dry-run", is_flag=True, help="Say what would be computed, and how long that takes, and end.")
def command(
    reals: tuple[str, ...],
    sets: tuple[str, ...],
    checkpoints: tuple[str, ...],
    paintings: tuple[str, ...],
    out: Path,
    resamples: int,
    seed: int,
    features: FeatureSource,
    address: str | None,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Measure how near sets of images are to photos: FID, KID and FD∞ at 2048, 768 and 192 dimensions.

    \b
    art2real-cli evaluate --real photos --set "Original paintings=paintings" \\
        --set "CycleGAN=cyclegan" --set "Ours=translated" --out evaluation

    Writes OUT/report.html, evaluation.json and evaluation.csv. Features are kept, so that a set is looked at
    once. The weights of Inception are those of torch-fidelity, in torch's cache or named with --weights.
    """
    if resamples == 1:
        raise UsageError("--resamples 1: a spread needs two at least; 0 leaves intervals out")

    from art2real.evaluation.sets import check_apart, parse_artist, parse_set

    real = _by_artist([parse_artist(text, "--real") for text in reals], "--real")
    painted = _by_artist([parse_artist(text, "--paintings") for text in paintings], "--paintings")
    given = [parse_set(text) for text in sets]
    made = [parse_set(text, "--checkpoint") for text in checkpoints]
    _check(real, painted, given, made)
    translated = [_result(each, out) for each in made]
    check_apart(real.items(), [*given, *translated])
    weights = features.weights("inception")
    if dry_run:
        _say_plan(real, given, made, painted, features, as_json)
        return
    begun = time.perf_counter()
    if made:
        _translate_all(made, translated, painted, address)
    _evaluate(
        real,
        [*given, *translated],
        [*_shown(painted, given), *given, *translated],
        weights,
        features,
        out,
        resamples,
        seed,
        address,
        as_json,
        begun,
    )


def _evaluate(
    real: dict[str, Path],
    sets: Sequence[ImageSet],
    shown: Sequence[ImageSet],
    weights: Any,
    features: FeatureSource,
    out: Path,
    resamples: int,
    seed: int,
    address: str | None,
    as_json: bool,
    begun: float,
) -> None:
    from art2real.evaluation.evaluate import LEVELS, as_text, evaluate
    from art2real.evaluation.report import write_evaluation
    from art2real.evaluation.scores import Measures, check_enough
    from art2real.versions import versions

    with features.extractor(address) as extract:
        photos = {
            artist: extract(f"photos of {artist}" if artist else "photos", folder, weights)
            for artist, folder in real.items()
        }
        found = [(each, extract(each.label, each.folder, weights)) for each in sets]
    for each in (*photos.values(), *(of for _, of in found)):
        check_enough(each.name, len(each.images))
    with progress(len(found) * len(LEVELS), "figures") as bar:
        result = evaluate(
            photos,
            found,
            weights,
            Measures(resamples, seed=seed),
            versions(_PACKAGES),
            on_progress=bar.update,
        )
    try:
        files = write_evaluation(result, shown, out)
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror or error}") from None
    data = {**result.to_dict(), "files": files, "seconds": round(time.perf_counter() - begun, 1)}
    emit(data, as_json, f"{as_text(result)}\n\nreport: {files['report.html']}")


def _by_artist(found: Sequence[tuple[str, Path]], option: str) -> dict[str, Path]:
    by_artist: dict[str, Path] = {}
    for artist, folder in found:
        if artist in by_artist:
            whom = f"of {artist} " if artist else ""
            raise UsageError(f"{option} {whom}is given twice: {by_artist[artist]} and {folder}")
        by_artist[artist] = folder
    return by_artist


def _check(
    real: dict[str, Path], painted: dict[str, Path], given: Sequence[ImageSet], made: Sequence[ImageSet]
) -> None:
    if not given and not made:
        raise UsageError(
            'nothing to compare: give --set "NAME=DIR", or --checkpoint "NAME=CKPT" and --paintings'
        )
    for each in made:
        if each.artist not in painted and "" not in painted:
            raise UsageError(f"--checkpoint {each.label} needs --paintings, the images that it translates")
    for each in (*given, *made):
        if each.artist not in real and "" not in real:
            raise UsageError(
                f"there are no photos for {each.label}: give --real DIR, or --real {each.artist}=DIR"
            )


def _result(of: ImageSet, out: Path) -> ImageSet:
    """The set that a checkpoint's translations are."""
    from art2real.evaluation.sets import ImageSet

    folder = out / "translated"
    for part in (of.artist, of.name):
        if part:
            safe = "".join(sign if sign.isalnum() or sign in " ._-" else "-" for sign in part).strip(". ")
            folder /= safe or "set"
    return ImageSet(of.name, folder, of.artist)


def _translate_all(
    made: Sequence[ImageSet], translated: Sequence[ImageSet], painted: dict[str, Path], address: str | None
) -> None:
    from art2real.distributed.translate_anywhere import translate_anywhere

    with ExitStack() as stack:
        do_pictures = translate_anywhere(address, stack)
        for each, target in zip(made, translated, strict=True):
            _translate(each, painted.get(each.artist, painted.get("")), target.folder, do_pictures)


def _translate(of: ImageSet, paintings: Path | None, target: Path, do_pictures: DoPictures) -> None:
    from art2real.translation.translate import plan_translation, run_plan

    assert paintings is not None
    plan = plan_translation([str(paintings)], {of.name: of.folder}, target, overwrite=True)
    shutil.rmtree(target, ignore_errors=True)  # what an earlier call translated may be other paintings
    with progress(None, f"paintings translated for {of.label}") as bar:
        run_plan(
            plan,
            do_pictures=do_pictures,
            on_progress=bar.update,
            on_skip=lambda source, reason: click.echo(f"{source} is left out: {reason}", err=True),
        )


def _shown(painted: dict[str, Path], given: Sequence[ImageSet]) -> list[ImageSet]:
    """The paintings, for the pictures, where they are not a set themselves."""
    from art2real.evaluation.sets import ImageSet

    there = {each.folder.resolve() for each in given}
    return [
        ImageSet("Painting", folder, artist)
        for artist, folder in painted.items()
        if folder.resolve() not in there
    ]


def _say_plan(
    real: dict[str, Path],
    given: Sequence[ImageSet],
    made: Sequence[ImageSet],
    painted: dict[str, Path],
    features: FeatureSource,
    as_json: bool,
) -> None:
    from art2real.data.corpus import list_images

    counts = {
        f"photos of {artist}" if artist else "photos": len(list_images(at)) for artist, at in real.items()
    }
    counts |= {each.label: len(list_images(each.folder)) for each in given}
    for each in made:
        counts[each.label] = len(list_images(painted.get(each.artist, painted.get("", Path()))))
    total = sum(counts.values())
    rate = features.rate("inception")
    data = {"images": counts, "images_per_second": round(rate, 2), "expected_seconds": round(total / rate)}
    lines = [f"{name}: {counted(count, 'image')}" for name, count in counts.items()]
    lines.append(
        f"features of {counted(total, 'image')} at {rate:.3g} a second on this machine: "
        f"{human_seconds(total / rate)}, less for sets whose features are kept from an earlier call"
    )
    emit(data, as_json, "\n".join(lines))
