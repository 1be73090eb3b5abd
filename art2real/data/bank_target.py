"""The folder that a memory bank is built in: what may be there, what is kept, what is removed."""

from __future__ import annotations

import shutil
from pathlib import Path

from art2real.data.bank_writer import corpus_sha256
from art2real.data.corpus import Corpus
from art2real.data.manifest import (
    BUILDING,
    FORMAT_VERSION,
    MANIFEST,
    SKIPPED,
    BankSettings,
    Building,
    Manifest,
    load_document,
    read_manifest,
    write_text,
)
from art2real.errors import UsageError, UserError


def check_target(corpus: Corpus, out: Path, settings: BankSettings, *, resume: bool, overwrite: bool) -> None:
    """Whether a bank can be built in `out`; changes nothing.

    Raises:
        UserError, UsageError: it cannot, as `build_bank` says.
    """
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; give the folder to build the bank in")
    if not out.is_dir() or not any(out.iterdir()):
        return
    finished = (out / MANIFEST).is_file()
    if not finished and not (out / BUILDING).is_file():
        raise UserError(f"{out}: holds other files and no memory bank; give a new or empty folder")
    if resume:
        _check_same(corpus, out, settings)
    elif not overwrite:
        state = "is a finished memory bank" if finished else "holds an unfinished memory bank"
        raise UserError(f"{out}: {state}; go on with it (--resume) or build it anew (--overwrite)")


def _check_same(corpus: Corpus, out: Path, settings: BankSettings) -> None:
    """Refuses to go on with a bank of other settings or files."""
    if (out / BUILDING).is_file():
        begun: Building | Manifest = load_document(out / BUILDING, Building)
    else:
        begun = read_manifest(out)
    difference = settings.difference(begun.settings)
    if difference is not None:
        raise UserError(f"{out}: was begun with other settings ({difference}); use those, or --overwrite")
    if begun.corpus_sha256 != corpus_sha256(corpus.files):
        raise UserError(f"{out}: the files of {corpus.root} have changed since it was begun; use --overwrite")


def prepare(corpus: Corpus, out: Path, settings: BankSettings, *, anew: bool) -> None:
    """Makes the folder and marks it as a bank that is being built; `anew` removes the bank that is there."""
    out.mkdir(parents=True, exist_ok=True)
    # The mark comes before all else: whatever a crash leaves behind is then known to be a bank.
    building = Building(
        format_version=FORMAT_VERSION, settings=settings, corpus_sha256=corpus_sha256(corpus.files)
    )
    write_text(out / BUILDING, building.to_json())
    if anew:
        remove_bank(out)
    sweep(out)


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
        leftover.unlink()
