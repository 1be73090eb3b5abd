"""`art2real-cli build-banks`."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from art2real.cli.common import address_option, counted, emit, human_bytes, json_option, progress
from art2real.errors import UsageError

if TYPE_CHECKING:
    from art2real.data.bank_run import Build
    from art2real.data.bank_target import Mode
    from art2real.data.manifest import BankSettings
    from art2real.data.sources import Source

# Option -> field of the settings, for messages.
_OPTIONS = {
    "image_size": "--size",
    "min_side": "--min-side",
    "scales": "--scale",
    "tile_stride": "--tile-stride",
}


@click.command()
@click.argument("photos")
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
@click.option("--size", type=int, help="Side of the stored squares, pixels.  [default: 256]")
@click.option(
    "--fit",
    type=click.Choice(["crop", "tile"]),
    help="crop: the centre of each photo; tile: all but a remainder below --tile-stride.  [default: crop]",
)
@click.option("--tile-stride", type=int, help="Step of the tiles, pixels.  [default: --size]")
@click.option(
    "--no-resize",
    is_flag=True,
    help="Keep photos as large as they are, their shorter side not scaled to --size.",
)
@click.option("--min-side", type=int, help="Least width and height of a photo, pixels.  [default: 16]")
@click.option(
    "--column",
    "columns",
    metavar="ROLE=NAME",
    multiple=True,
    help="Column of a table for path, licence, attribution or mask; may be repeated.",
)
@click.option("--anonymous", is_flag=True, help="Read s3:// and gs:// without credentials.")
@click.option("--append", is_flag=True, help="Add the photos that the bank lacks.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted build.")
@click.option("--overwrite", is_flag=True, help="Build anew over the bank that is there.")
@click.option("--no-index", is_flag=True, help="Leave the index out; build-index makes it later.")
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
    photos: str,
    out: Path,
    columns: tuple[str, ...],
    anonymous: bool,
    append: bool,
    resume: bool,
    overwrite: bool,
    no_index: bool,
    max_bad: float,
    dry_run: bool,
    address: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Build a memory bank of patches, and its index, from PHOTOS.

    PHOTOS is a folder, a glob in quotes, a list of paths (.txt), a table with a column of paths (.csv,
    .parquet), or a WebDataset shard (.tar): here, or at s3:// or gs://. Photos are stored once, as squares of
    --size pixels. Files that cannot be used, and copies, are left out and named in BANK/skipped.jsonl.
    """
    from art2real.cli.described.bank import bank_as_text
    from art2real.data.bank_build import begin
    from art2real.data.bank_target import check_target
    from art2real.data.sources import open_source

    mode = _mode(append, resume, overwrite)
    check_target(out, mode)
    settings = settings_of(out, mode, **chosen)
    source = open_source(photos, columns=_columns(columns), leave_out=out, anonymous=anonymous)
    if dry_run:
        _say_plan(source, out, settings, as_json)
        return
    start = time.monotonic()
    with progress(None, "files listed") as bar:
        stack = ExitStack()
        build = stack.enter_context(
            begin(source, out, settings, mode=mode, anonymous=anonymous, on_listed=bar.update)
        )
    with stack:
        data = _build(build, address, max_bad, with_index=not no_index)
    data["seconds"] = round(time.monotonic() - start, 1)
    emit(data, as_json, bank_as_text(data))


def _mode(append: bool, resume: bool, overwrite: bool) -> Mode:
    if append + resume + overwrite > 1:
        raise UsageError("--append, --resume and --overwrite exclude each other")
    return "append" if append else "resume" if resume else "overwrite" if overwrite else "new"


def settings_of(
    out: Path,
    mode: Mode,
    *,
    scales: tuple[str, ...],
    size: int | None,
    fit: str | None,
    tile_stride: int | None,
    no_resize: bool,
    min_side: int | None,
) -> BankSettings:
    """What the options say; where they say nothing, what the bank was begun with, or the defaults."""
    from pydantic import ValidationError

    from art2real.core.scale import Scale
    from art2real.data.bank_target import bank_settings
    from art2real.data.manifest import BankSettings

    base = (bank_settings(out) if mode in ("append", "resume") else None) or BankSettings()
    try:
        given = {
            "scales": tuple(Scale.parse(text) for text in scales) or None,
            "image_size": size,
            "fit": fit,
            "tile_stride": tile_stride,
            "resize": False if no_resize else None,
            "min_side": min_side,
        }
        said = {name: value for name, value in given.items() if value is not None}
        settings = BankSettings(**{**base.model_dump(), **said})
    except ValidationError as error:
        first = error.errors()[0]
        option = _OPTIONS.get(str(first["loc"][0]) if first["loc"] else "", "--scale")
        raise UsageError(f"{option}: {first['msg'].removeprefix('Value error, ')}") from None
    except ValueError as error:
        raise UsageError(f"--scale: {error}") from None
    if tile_stride is not None and settings.fit != "tile":
        raise UsageError("--tile-stride: there are tiles only with --fit tile")
    return settings


def _columns(texts: tuple[str, ...]) -> dict[str, str] | None:
    pairs = [text.partition("=") for text in texts]
    for (role, separator, name), text in zip(pairs, texts, strict=True):
        if not (role and separator and name):
            raise UsageError(f"--column: {text!r} is not ROLE=NAME, for example path=file_name")
    return {role: name for role, _, name in pairs} or None


def _build(build: Build, address: str | None, max_bad: float, *, with_index: bool) -> dict[str, Any]:
    from art2real.cli.build_index import warn
    from art2real.cli.described.bank import describe_bank
    from art2real.data.bank_run import Summary
    from art2real.distributed.cluster import session
    from art2real.index.manifest import describe

    def run(**writer: Any) -> Summary:
        with progress(build.now.files, "photos") as bar:
            return build.run(
                max_bad=max_bad,
                on_progress=lambda done, total, skipped: bar.update(done, total, f"{skipped:,} skipped"),
                **writer,
            )

    with ExitStack() as cluster:
        if build.missing:
            cluster.enter_context(session(address))
            # Only now: Ray reads its environment, which the session sets, when it is imported.
            from art2real.distributed.bank_job import write_on_cluster

            summary = run(write=write_on_cluster)
        else:
            summary = run()
        indexes = describe(build.out)
        rows = {(info.size, info.stride): info.patches for info in summary.manifest.scales}
        # Appended photos are added to an index; one of other photos is of no use.
        foreign = any(index["lacks_rows"] == rows[index["size"], index["stride"]] for index in indexes)
        lacking = len(indexes) < len(rows) or any(index["lacks_rows"] for index in indexes)
        # A resumed bank may have its index already, perhaps one that was asked for with other options.
        if with_index and lacking:
            if not build.missing:
                cluster.enter_context(session(address))
            from art2real.distributed.index_job import build_index

            with progress(None, "index steps") as bar:
                warn(build_index(build.out, overwrite=foreign, on_progress=bar.update))
    return {
        **describe_bank(build.out),
        "tasks_done": summary.tasks_done,
        "tasks_kept": summary.tasks_kept,
    }


def _say_plan(source: Source, out: Path, settings: BankSettings, as_json: bool) -> None:
    files = sum(1 for _ in source.entries())
    side = settings.image_size
    patches = {scale: files * len(scale.positions(side, side)[0]) for scale in settings.scales}
    size = settings.bytes_per_square * files
    data = {
        "files": files,
        "not_images": source.not_images,
        "fit": settings.fit,
        "tasks": -(-files // settings.photos_per_shard),
        "bytes": size,
        "scales": [
            {"size": scale.size, "stride": scale.stride, "patches": count} for scale, count in patches.items()
        ],
    }
    several = " for each tile of a photo" if settings.fit == "tile" else ""
    lines = [
        f"{out}: up to {counted(files, 'photo')} of {side}x{side} pixels, {human_bytes(size)} without the "
        f"index{several}",
        *(f"patches     {scale}  {count:,}{several}" for scale, count in patches.items()),
    ]
    emit(data, as_json, "\n".join(lines))
