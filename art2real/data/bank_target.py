"""The folder that a memory bank is built in: what may be there, what is kept, what is removed."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from art2real.data.bank_writer import record_path
from art2real.data.listing import LISTING
from art2real.data.lock import LOCK
from art2real.data.manifest import (
    BUILDING,
    MANIFEST,
    SKIPPED,
    BankSettings,
    Building,
    Input,
    ShardRecord,
    load_document,
    read_manifest,
)
from art2real.errors import UserError

Mode = Literal["new", "resume", "overwrite", "append"]


def check_target(out: Path, mode: Mode) -> None:
    """Whether there is, in the folder `out`, what `mode` wants; changes nothing.

    Raises:
        UserError: there is not, or the folder holds anything else.
    """
    if "://" in str(out):
        raise UserError(
            f"{out}: a bank is memory-mapped, so it is built in a folder: give one that all nodes share, "
            "and copy the finished bank"
        )
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; give the folder to build the bank in")
    if not out.is_dir() or all(_is_remnant(each.name) for each in out.iterdir()):
        if mode == "append":
            raise UserError(f"{out}: there is no memory bank to append to; leave --append out to build one")
        return
    finished, begun = (out / MANIFEST).is_file(), (out / BUILDING).is_file()
    if not finished and not begun:
        raise UserError(f"{out}: holds other files and no memory bank; give a new or empty folder")
    if mode == "append" and not finished:
        raise UserError(f"{out}: is not finished; go on with it first (--resume)")
    if mode == "new":
        state = "is a finished memory bank" if finished else "holds an unfinished memory bank"
        choices = "go on with it (--resume), add to it (--append)" if finished else "go on with it (--resume)"
        raise UserError(f"{out}: {state}; {choices} or build it anew (--overwrite)")


def _is_remnant(name: str) -> bool:
    """What a builder leaves that died before it had marked the folder as a bank."""
    return name in (LOCK, LISTING) or (name.startswith(".") and name.endswith(".tmp"))


def bank_settings(out: Path) -> BankSettings | None:
    """The settings of the bank that is in the folder, finished or not; None if there is none."""
    building, manifest = read_building(out), out / MANIFEST
    if building is not None:
        return building.settings
    return read_manifest(out).settings if manifest.is_file() else None


def read_building(out: Path) -> Building | None:
    """What is being built in the folder; None if nothing is, or was begun and finished.

    Raises:
        UserError: the record is damaged, or of another format version.
    """
    path = out / BUILDING
    return load_document(path, Building) if path.is_file() else None


def read_records(bank: Path, inputs: Iterable[Input]) -> dict[int, ShardRecord]:
    """The records of all tasks of some inputs, by their number.

    Raises:
        UserError: one is missing or damaged.
    """
    numbers = [each.first_task + number for each in inputs for number in range(each.tasks)]
    return {number: load_document(bank / record_path(number), ShardRecord) for number in numbers}


def remove_bank(out: Path) -> None:
    """Removes a bank but not the mark that one is being built."""
    (out / MANIFEST).unlink(missing_ok=True)
    for folder in ("index", "records", "patches", "photos"):
        if (out / folder).is_dir():
            shutil.rmtree(out / folder)
    (out / SKIPPED).unlink(missing_ok=True)


def sweep(out: Path) -> None:
    """Removes what writers that died left half-written."""
    for leftover in out.rglob(".*.tmp"):
        leftover.unlink(missing_ok=True)
