"""`art2real-cli inspect`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from art2real.cli.common import emit, json_option, progress
from art2real.cli.described.audit import audit_as_text, audit_bank
from art2real.cli.described.bank import bank_as_text, describe_bank, draw_bank, verify_bank
from art2real.cli.described.files import OnProgress
from art2real.cli.described.index import describe_index, index_as_text, verify_index
from art2real.cli.described.run import (
    checkpoint_as_text,
    describe_checkpoint,
    describe_run,
    draw_run,
    run_as_text,
    verify_checkpoint,
    verify_run,
)
from art2real.errors import UsageError, UserError


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="Compare every file with its checksum.")
@click.option(
    "--audit",
    is_flag=True,
    help="Measure how true the index and the estimators of a memory bank are to all its rows. Takes minutes.",
)
@click.option(
    "--image",
    "images",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Image to audit with; may be repeated.  [default: 4 photos of the bank, mirrored and made soft]",
)
@click.option(
    "--out",
    metavar="FILE.png",
    type=click.Path(path_type=Path),
    help="Draw random photos and patches of a memory bank into a picture, with --audit an affinity matrix; "
    "of a run its curves.",
)
@json_option
def command(
    path: Path, verify: bool, audit: bool, images: tuple[Path, ...], out: Path | None, as_json: bool
) -> int:
    """Describe the memory bank, index, run or checkpoint in the folder PATH.

    With --verify the exit code is 1 if a file is missing or damaged.
    """
    if out is not None and out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: the picture is written as PNG; end its name in .png")
    if images and not audit:
        raise UsageError("--image: only an audit takes images; add --audit")
    kind = _kind_of(path)
    if audit and kind is not _BANK:
        raise UsageError(f"--audit: only a memory bank has an audit, and {path} is none; leave it out")
    if out is not None and kind.draw is None:
        raise UsageError(f"--out {out}: only memory banks and runs have a picture; leave it out")
    data = kind.describe(path)
    text = kind.as_text(data)
    if audit:
        with progress(100, "percent audited") as bar:
            data.update(
                audit_bank(path, data["index"], images, out, lambda part: bar.update(round(100 * part, 1)))
            )
        text += "\n" + audit_as_text(data)
    elif out is not None and kind.draw is not None:
        kind.draw(path, out)
    if out is not None:
        data["picture"] = str(out)
        text += f"\npicture: {out}"
    if verify:
        with progress(None, "files verified") as bar:
            data["damaged"] = kind.verify(path, bar.update)
        text += "\n" + _verdict(data)
    emit(data, as_json, text)
    return 1 if data.get("damaged") else 0


@dataclass(frozen=True)
class _Kind:
    """A kind of folder, known by the file that only it has."""

    files: tuple[str, ...]
    describe: Callable[[Path], dict[str, Any]]
    as_text: Callable[[dict[str, Any]], str]
    verify: Callable[[Path, OnProgress], list[str]]
    draw: Callable[[Path, Path], None] | None = None
    """Writes a picture of the folder to a file."""


_BANK = _Kind(("manifest.json", "building.json"), describe_bank, bank_as_text, verify_bank, draw_bank)
# An index has a manifest.json as well, so it comes before banks.
_KINDS = (
    _Kind(("trained.json",), describe_index, index_as_text, verify_index),
    _Kind(("checkpoint.json",), describe_checkpoint, checkpoint_as_text, verify_checkpoint),
    _Kind(("run.json",), describe_run, run_as_text, verify_run, draw_run),
    _BANK,
)


def _kind_of(path: Path) -> _Kind:
    if not path.exists():
        raise UserError(f"{path}: there is no such folder")
    for kind in _KINDS:
        if any((path / name).is_file() for name in kind.files):
            return kind
    raise UserError(f"{path}: neither a memory bank, an index, a run nor a checkpoint")


def _verdict(data: dict[str, Any]) -> str:
    if not data["damaged"]:
        return "verified: every file is as it was written"
    lines = ["missing or damaged:", *(f"  {name}" for name in data["damaged"])]
    if data["kind"] == "bank":
        lines.append("delete them; build-banks with --resume, and build-index for the index, write them anew")
    return "\n".join(lines)
