"""`art2real-cli build-banks`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from art2real.cli.common import address_option, counted, emit, json_option, progress
from art2real.errors import UsageError

if TYPE_CHECKING:
    from art2real.data.corpus import Corpus
    from art2real.data.manifest import BankSettings


@click.command()
@click.argument("photos", type=click.Path(path_type=Path))
@click.option(
    "--out", metavar="BANK", type=click.Path(path_type=Path), required=True, help="Folder of the bank."
)
@click.option(
    "--scale",
    "scales",
    metavar="SIZE:STRIDE",
    multiple=True,
    help="Patch size and stride in pixels; may be repeated.  [default: 16:6 8:5 4:4]",
)
@click.option("--size", default=256, show_default=True, help="Side of the stored photos, pixels.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted build.")
@click.option("--overwrite", is_flag=True, help="Build anew over the bank that is there.")
@click.option("--no-index", is_flag=True, help="Leave the index out; build-index makes it later.")
@click.option("--min-side", default=16, show_default=True, help="Least width and height of a photo, pixels.")
@click.option(
    "--max-bad",
    default=0.05,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of at least 100 files that may be unusable.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be built, without building.")
@address_option
@json_option
def command(
    photos: Path,
    out: Path,
    scales: tuple[str, ...],
    size: int,
    resume: bool,
    overwrite: bool,
    no_index: bool,
    min_side: int,
    max_bad: float,
    dry_run: bool,
    address: str | None,
    as_json: bool,
) -> None:
    """Build a memory bank of patches, and its index, from the folder PHOTOS.

    Photos are stored once, as squares of --size pixels: their shorter side is scaled, their centre is kept.
    Files that cannot be used are left out and named in BANK/skipped.jsonl.
    """
    from art2real.data.bank_target import check_target
    from art2real.data.corpus import list_corpus

    settings = _settings(scales, size, min_side)
    corpus = list_corpus(photos, leave_out=out)
    check_target(corpus, out, settings, resume=resume, overwrite=overwrite)
    if dry_run:
        _say_plan(corpus, out, settings, as_json)
        return
    start = time.monotonic()

    from art2real.cli.inspect import bank_as_text, describe_bank
    from art2real.distributed.cluster import session
    from art2real.index.manifest import describe

    with session(address):
        # Only now: Ray reads its environment, which the session sets, when it is imported.
        from art2real.distributed.bank_job import build_banks

        with progress(len(corpus.files), "photos") as bar:
            summary = build_banks(
                corpus,
                out,
                settings,
                resume=resume,
                overwrite=overwrite,
                max_bad=max_bad,
                on_progress=bar.update,
            )
        # A resumed bank may have its index already, perhaps one that was asked for with other options.
        if not no_index and len(describe(out)) < len(settings.scales):
            from art2real.distributed.index_job import build_index

            with progress(None, "index") as bar:
                build_index(out, on_progress=bar.update)
    data = {
        **describe_bank(out),
        "shards_written": summary.shards_written,
        "shards_kept": summary.shards_kept,
        "seconds": round(time.monotonic() - start, 1),
    }
    emit(data, as_json, bank_as_text(data))


def _settings(scales: tuple[str, ...], size: int, min_side: int) -> BankSettings:
    from pydantic import ValidationError

    from art2real.core.scale import Scale
    from art2real.data.manifest import DEFAULT_SCALES, BankSettings

    names = {"image_size": "--size", "min_side": "--min-side", "scales": "--scale"}
    try:
        chosen = tuple(Scale.parse(text) for text in scales) or DEFAULT_SCALES
        return BankSettings(image_size=size, scales=chosen, min_side=min_side)
    except ValidationError as error:
        first = error.errors()[0]
        option = names.get(str(first["loc"][0]) if first["loc"] else "", "--scale")
        raise UsageError(f"{option}: {first['msg'].removeprefix('Value error, ')}") from None
    except ValueError as error:
        raise UsageError(f"--scale: {error}") from None


def _say_plan(corpus: Corpus, out: Path, settings: BankSettings, as_json: bool) -> None:
    from art2real.cli.inspect import human_bytes
    from art2real.data.bank_build import expected_bytes, plan

    files, side = len(corpus.files), settings.image_size
    shards = len(plan(corpus, out, settings))
    patches = {scale: files * len(scale.positions(side, side)[0]) for scale in settings.scales}
    data = {
        "files": files,
        "not_images": corpus.not_images,
        "shards": shards,
        "bytes": expected_bytes(files, settings),
        "scales": [
            {
                "size": scale.size,
                "stride": scale.stride,
                "patches": count,
            }
            for scale, count in patches.items()
        ],
    }
    lines = [
        f"{out}: up to {files:,} photos of {side}x{side} pixels, {counted(shards, 'shard')}, "
        f"{human_bytes(expected_bytes(files, settings))} without the index",
        *(f"patches     {scale}  {count:,}" for scale, count in patches.items()),
    ]
    emit(data, as_json, "\n".join(lines))
