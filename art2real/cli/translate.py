"""`art2real-cli translate`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from art2real.cli.common import address_option, counted, emit, human_seconds, json_option, progress
from art2real.cli.named import parse_named

if TYPE_CHECKING:
    from art2real.translation.translate import Plan, Translated

_TRIED_SIDE = 256


@click.command()
@click.argument("images", nargs=-1, required=True)
@click.option(
    "--checkpoint",
    "checkpoints",
    metavar="[NAME=]CKPT",
    multiple=True,
    required=True,
    help="A run (its newest checkpoint is taken), checkpoint or exported folder; several with names.",
)
@click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path), required=True, help="Folder for the results."
)
@click.option(
    "--format",
    "image_format",
    type=click.Choice(["png", "jpeg", "webp"]),
    default="png",
    show_default=True,
    help="Format of the results; png keeps every value.",
)
@click.option("--quality", type=click.IntRange(1, 100), help="Of jpeg and webp.  [default: 95]")
@click.option(
    "--side-by-side",
    is_flag=True,
    help="Also show each painting beside its translations, in DIR/side-by-side.",
)
@click.option("--overwrite", is_flag=True, help="Make results anew that are there already.")
@click.option("--anonymous", is_flag=True, help="Read s3:// and gs:// without credentials.")
@click.option("--dry-run", is_flag=True, help="Say what would be made and how long it takes.")
@address_option
@json_option
def command(
    images: tuple[str, ...],
    checkpoints: tuple[str, ...],
    out: Path,
    dry_run: bool,
    address: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Translate paintings with a trained checkpoint.

    IMAGES are files, folders (with their sub-folders, which are kept), globs in quotes, lists of paths
    (.txt), tables with a column of paths (.csv, .parquet) or .tar shards: here, or at s3:// or gs://. The
    results have the size of their image and its name; those of several checkpoints go into DIR/NAME. The same
    call again makes what is missing or has changed. An input is never replaced.
    """
    from art2real.translation.translate import plan_translation

    named = parse_named(checkpoints, "--checkpoint", "model")
    plan = plan_translation(images, {name: Path(path) for name, path in named.items()}, out, **options)
    if dry_run:
        _say_plan(plan, as_json)
    else:
        _say_result(plan, _run(plan, address), as_json)


def _run(plan: Plan, address: str | None) -> Translated:
    from art2real.distributed.translate_anywhere import translate_anywhere
    from art2real.translation.translate import run_plan

    with ExitStack() as stack, progress(None, "images") as bar:
        return run_plan(
            plan,
            do_pictures=translate_anywhere(address, stack),
            on_progress=bar.update,
            on_skip=lambda source, reason: click.echo(f"{source} is left out: {reason}", err=True),
        )


def _say_result(plan: Plan, result: Translated, as_json: bool) -> None:
    data = {
        "translated": result.made,
        "kept": result.kept,
        "skipped": [{"file": source, "reason": reason} for source, reason in result.skipped],
        "files": [{"source": source, "result": str(path)} for source, path in result.files],
        "seconds": round(result.seconds, 2),
    }
    kept = f", {result.kept:,} there already" if result.kept else ""
    left_out = f", {len(result.skipped):,} left out" if result.skipped else ""
    text = f"{counted(result.made, 'image')} translated into {plan.job.out}{kept}{left_out}"
    emit(data, as_json, text)


def _say_plan(plan: Plan, as_json: bool) -> None:
    from art2real.distributed.cluster import cores

    to_do = plan.to_do
    known = [picture.pixels for picture in to_do if picture.pixels is not None]
    pixels = sum(known)
    # Those afar are taken to be as large as the others.
    expected = pixels * len(to_do) / len(known) if known else None
    seconds = (
        None if expected is None else expected * _seconds_a_pixel(plan) / max(1, min(cores(), len(to_do)))
    )
    data = {
        "to_translate": len(to_do),
        "kept": len(plan.pictures) - len(to_do),
        "large": sum(picture.is_large for picture in to_do),
        "pixels": pixels,
        "sizes_unknown": len(to_do) - len(known),
        "estimated_seconds": None if seconds is None else round(seconds),
    }
    duration = "" if seconds is None else f"; about {human_seconds(seconds)} here"
    unknown = f", {data['sizes_unknown']:,} of unknown size" if data["sizes_unknown"] else ""
    text = (
        f"{plan.job.out}: {counted(len(to_do), 'image')} to translate, {data['kept']:,} there already, "
        f"{pixels / 1e6:.3g} million pixels{unknown}{duration}"
    )
    emit(data, as_json, text)


def _seconds_a_pixel(plan: Plan) -> float:
    """How long a worker takes, with all checkpoints, for a pixel."""
    import time

    import numpy as np
    import torch

    from art2real.translation.image import translate_image
    from art2real.translation.translator import best_device
    from art2real.translation.weights import load_generator

    torch.set_num_threads(1)  # as a worker does
    picture = np.random.default_rng(0).integers(0, 256, (_TRIED_SIDE, _TRIED_SIDE, 3), np.uint8)
    seconds = 0.0
    for model in plan.job.models:
        generator = load_generator(model.checkpoint).to(best_device())
        translate_image(generator, picture)  # the first pass chooses algorithms
        begun = time.perf_counter()
        translate_image(generator, picture)
        seconds += time.perf_counter() - begun
    return seconds / picture[..., 0].size
