"""`art2real-cli demo`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from art2real.cli.common import Progress, address_option, emit, json_option, progress
from art2real.errors import UsageError, UserError

if TYPE_CHECKING:
    from art2real.demo.finished import Finished

_MADE = ("samples", "bank", "runs", "translations", "report.html", "report.json", "demo.png")
"""All that the demo writes: what --overwrite removes, and nothing else."""


@click.command()
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("demo-out"),
    show_default=True,
    help="Folder for everything that the demo makes.",
)
@click.option(
    "--paintings",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Your own paintings, in place of the samples.",
)
@click.option(
    "--photos", metavar="DIR", type=click.Path(path_type=Path), help="Your own photos, with --paintings."
)
@click.option(
    "--steps",
    metavar="N",
    type=click.IntRange(min=1),
    help="Training steps; few of them show only that it runs.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier demo in that folder.")
@address_option
@json_option
def command(
    out: Path,
    paintings: Path | None,
    photos: Path | None,
    steps: int | None,
    overwrite: bool,
    address: str | None,
    as_json: bool,
) -> None:
    """Run the whole pipeline on sample images; ends with a report.html.

    Photos become a memory bank and its index, a small translation is trained with retrieval from it, and
    paintings that it has not seen are translated. Without your own images, sample paintings are made from
    photos that ship with the package, so that the true photo behind each of them is known.
    """
    if (paintings is None) != (photos is None):
        raise UsageError(
            "--paintings and --photos belong together: give both folders, or none for the samples"
        )
    _prepare(out, overwrite, [folder for folder in (paintings, photos) if folder is not None])

    from art2real.demo.pipeline import run_demo

    with _leaving_nothing_empty(out), ExitStack() as stages:
        shown = _Shown(stages)
        finished = run_demo(
            out,
            paintings=paintings,
            photos=photos,
            steps=steps,
            address=address,
            on_stage=shown.begin,
            on_progress=shown.update,
        )
    emit(finished.to_dict(), as_json, _text(finished))


class _Shown:
    """The progress of the stage that is at work."""

    def __init__(self, stages: ExitStack) -> None:
        self._stages = stages
        self._bar: Progress | None = None
        self._at: tuple[float, float] | None = None

    def begin(self, name: str, what: str) -> None:
        self._stages.close()  # ends the stage before
        click.echo(f"{name}: {what}", err=True)
        self._bar = self._stages.enter_context(progress(None, name))
        self._at = None

    def update(self, done: float, total: float) -> None:
        if self._bar is not None and (done, total) != self._at:
            self._at = (done, total)
            self._bar.update(done, total)


@contextmanager
def _leaving_nothing_empty(out: Path) -> Iterator[None]:
    """Takes the folder away again if nothing was made in it."""
    try:
        yield
    finally:
        with suppress(OSError):
            out.rmdir()


def _prepare(out: Path, overwrite: bool, inputs: list[Path]) -> None:
    """An empty folder at `out`, or an error."""
    for folder in inputs:
        if folder.resolve() == out.resolve() or out.resolve() in folder.resolve().parents:
            raise UsageError(
                f"{folder} lies inside of --out {out}, which the demo writes to; choose another --out"
            )
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            if not overwrite or not out.is_dir():
                raise UserError(f"{out} exists and is not empty; choose another --out, or add --overwrite")
            foreign = sorted(path.name for path in out.iterdir() if path.name not in _MADE)
            if foreign:
                raise UserError(f"{out} holds {foreign[0]}, which is not from a demo; choose another --out")
            for path in out.iterdir():
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from None


def _text(finished: Finished) -> str:
    lines = [
        f"{row.name.lower():<10} {row.before:8.3f} before, {row.after:8.3f} after  "
        f"({row.unit}; nearer in {row.nearer} of {row.count})"
        for row in finished.distances
    ]
    total = sum(stage.seconds for stage in finished.stages)
    return "\n".join(
        [
            *(
                ["distance to the true photo, painting before and translation after:", *lines]
                if lines
                else []
            ),
            f"done in {total:.0f} s; open {finished.report}",
        ]
    )
