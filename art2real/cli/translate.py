"""`art2real-cli translate`."""

from __future__ import annotations

from pathlib import Path

import click

from art2real.cli.common import counted, emit, json_option, progress


@click.command()
@click.argument("images", nargs=-1, required=True)
@click.option(
    "--checkpoint",
    metavar="CKPT",
    type=click.Path(path_type=Path),
    required=True,
    help="A run folder (its newest checkpoint is taken) or a checkpoint folder.",
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
@json_option
def command(images: tuple[str, ...], checkpoint: Path, out: Path, image_format: str, as_json: bool) -> None:
    """Translate paintings with a trained checkpoint.

    IMAGES are files, folders (with their sub-folders, which are kept) or glob patterns. The results have the
    size of their image and its name; a result of an earlier call is replaced, an input never.
    """
    from art2real.translation.translate import translate_files

    with progress(None, "images") as bar:
        result = translate_files(
            images,
            checkpoint,
            out,
            image_format=image_format,
            on_progress=bar.update,
            on_skip=lambda path, reason: click.echo(f"{path} is left out: {reason}", err=True),
        )
    data = {
        "translated": len(result.files),
        "skipped": [{"file": str(path), "reason": reason} for path, reason in result.skipped],
        "files": [{"source": str(source), "result": str(target)} for source, target in result.files],
        "seconds": round(result.seconds, 2),
    }
    left_out = f", {len(result.skipped)} left out" if result.skipped else ""
    emit(data, as_json, f"{counted(len(result.files), 'image')} translated into {out}{left_out}")
