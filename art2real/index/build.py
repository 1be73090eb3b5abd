"""Builds the index of one scale, in steps that may run in other processes: train, add each shard, finish.

All shards share what the first step trained (`art2real.index.learn`), so that their merged answers are those
of one index. Each step leaves a record after its files; a step whose record fits what is asked for is not
done again. Where the bank was appended to, what was trained and the shards that are there stay as they are.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.manifest import digest, write_text
from art2real.errors import UsageError, UserError
from art2real.index.audit import tune
from art2real.index.files import is_whole, usable, write_file
from art2real.index.learn import ROWS_PER_BLOCK
from art2real.index.left_out import nothing_to_hold, write_left_out
from art2real.index.manifest import (
    MANIFEST,
    IndexManifest,
    Part,
    Request,
    Source,
    Trained,
    index_folder,
    read_manifest,
)
from art2real.index.retriever import unit_rows_and_norms
from art2real.index.shard import read_index


def ask(bank: MemoryBank, scale: Scale, *, anew: bool = False, **given: Any) -> Request:
    """What is asked for at a scale: an option that is None is as the scale's index has it, else its default.

    Args:
        anew: what the index there was asked for does not count. given: fields of `Request`.

    Raises:
        UsageError: an option is out of range.
    """
    complete = usable(index_folder(bank.path, scale) / MANIFEST, IndexManifest)
    base = Request() if complete is None or anew else complete.trained.request
    request = base.model_copy(update={name: value for name, value in given.items() if value is not None})
    if request.shards < 1:
        raise UsageError(f"--shards must be at least 1, got {request.shards}")
    if not 0 <= request.min_recall <= 1:
        raise UsageError(f"--min-recall must be between 0 and 1, got {request.min_recall:g}")
    if not 0 <= request.min_contrast <= 255:
        raise UsageError(
            f"--min-contrast must be between 0 and 255 grey levels, got {request.min_contrast:g}"
        )
    if request.memory is not None and request.memory < 1:
        raise UsageError(f"--memory must be at least one byte, got {request.memory}")
    # Two requests are the same if their JSON is: 1 for 1.0 would be another one.
    return Request.model_validate(request.model_dump())


def plan(bank: MemoryBank, shards: int, kept: Sequence[Part] = ()) -> list[tuple[int, ...]]:
    """The bank shards that each index shard covers; never more index shards than bank shards.

    Args:
        shards: index shards, at least 1. kept: those that are there already: only the bank shards after them
            are planned, and as many go into one index shard as are in those on average.
    """
    first = kept[-1].bank_shards[-1] + 1 if kept else 0
    numbers = np.arange(first, len(bank.shards))
    count = round(len(numbers) * len(kept) / first) if kept else shards
    parts = np.array_split(numbers, min(max(count, 1), len(numbers)))
    return [tuple(int(number) for number in part) for part in parts]


def kept_parts(bank: MemoryBank, scale: Scale) -> tuple[Part, ...]:
    """The index shards of a complete index to whose bank shards were appended, else none."""
    manifest = read_manifest(bank.path, scale)
    grew = manifest is not None and manifest.covers.grew_into(Source.of(bank, scale))
    return manifest.parts if manifest is not None and grew else ()


def finished(bank: MemoryBank, scale: Scale, request: Request) -> IndexManifest | None:
    """The complete index that `request` asks for; None if it, or its newest part, is yet to be built.

    Raises:
        UserError: there is an index, but another one.
    """
    manifest = read_manifest(bank.path, scale)
    if manifest is None:
        return None
    source = Source.of(bank, scale)
    grew = manifest.covers.grew_into(source)
    asked, had = request.model_dump(), manifest.trained.request.model_dump()
    differences = [f"{name} {had[name]}, not {asked[name]}" for name in asked if asked[name] != had[name]]
    if manifest.covers != source and not grew:
        differences.insert(0, "it was built from an older state of the bank")
    if differences:
        raise UserError(
            f"bank {bank.path} has another index at scale {scale} ({differences[0]}); "
            "keep it, or replace it with --overwrite"
        )
    return None if grew else manifest


def is_current(bank: MemoryBank, scale: Scale, request: Request) -> bool:
    """Whether a complete index of this request learned from the bank as it is now."""
    manifest = usable(index_folder(bank.path, scale) / MANIFEST, IndexManifest)
    return (
        manifest is not None
        and manifest.trained.request == request
        and manifest.trained.source == manifest.covers == Source.of(bank, scale)
    )


def discard(bank: MemoryBank, scale: Scale) -> None:
    """Deletes the index of a scale, its manifest first: what has no manifest does not exist."""
    folder = index_folder(bank.path, scale)
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def add_shard(bank: MemoryBank, scale: Scale, trained: Trained, number: int, shards: tuple[int, ...]) -> Part:
    """Writes index shard `number` over the rows of consecutive bank shards, near-constant ones left out.

    Rows are centred by the mean that the index was trained with, so that those of banks that have grown
    since lie in the same space.

    Raises:
        UserError: the trained index is damaged, or the bank cannot be written to.
    """
    path = index_folder(bank.path, scale) / f"part-{number:05d}.index"
    content = digest(bank.shards[number].identity for number in shards)
    known = usable(path.with_suffix(".json"), Part)
    if (
        known is not None
        and (known.trained, known.bank_shards, known.content) == (trained.identity, shards, content)
        and is_whole(bank.path, known.file)
        and is_whole(bank.path, known.left_out)
    ):
        return known
    ranges = bank.shard_rows(scale)
    first, end = ranges[shards[0]].start, ranges[shards[-1]].stop
    index = read_index(bank.path / trained.file.path, trained.file.bytes)
    mean, least = trained.centre, trained.request.least_norm(scale)
    rows_left_out, norms_left_out = [], []
    for at in range(first, end, ROWS_PER_BLOCK):
        rows = np.arange(at, min(at + ROWS_PER_BLOCK, end))
        vectors, norms = unit_rows_and_norms(bank.vectors(scale, rows), mean)
        out = norms < least
        if not out.all():  # some types crash when nothing is added
            index.add(vectors[~out])
        rows_left_out.append(rows[out])
        norms_left_out.append(norms[out])
    part = Part(
        trained=trained.identity,
        bank_shards=shards,
        content=content,
        first_row=first,
        rows=end - first,
        file=write_file(bank.path, path, partial(faiss.write_index, index)),
        left_out=write_left_out(
            bank.path, path, np.concatenate(rows_left_out), np.concatenate(norms_left_out)
        ),
    )
    write_text(path.with_suffix(".json"), part.to_json())
    return part


def finish(bank: MemoryBank, scale: Scale, trained: Trained, parts: list[Part]) -> IndexManifest:
    """Tunes and audits the index, and writes its manifest: from then on it exists.

    Raises:
        UserError: a shard is damaged, no row is left, or the bank cannot be written to.
    """
    if all(part.rows == part.left_out.rows for part in parts):
        raise nothing_to_hold(bank, scale, trained.request)
    before = usable(index_folder(bank.path, scale) / MANIFEST, IndexManifest)
    first = before.first_audit if before is not None and before.trained == trained else None
    files = [bank.path / part.file.path for part in parts]
    # Rows were added: as many lists are scanned at first as before, so that both recalls can be compared.
    audit, again = tune(bank, scale, files, trained, trained.nprobe if first is None else first.nprobe)
    manifest = IndexManifest(
        trained=trained,
        covers=Source.of(bank, scale),
        parts=tuple(parts),
        audit=audit,
        first_audit=first or audit,
        drift=0 if first is None else round(first.recall_at_1 - again.recall_at_1, 4),
    )
    folder = index_folder(bank.path, scale)
    write_text(folder / MANIFEST, manifest.to_json())
    names = [Path(file.path) for file in manifest.files]
    wanted = {MANIFEST, *(name.name for name in names), *(name.with_suffix(".json").name for name in names)}
    for path in folder.iterdir():  # what interrupted builds, of other shards perhaps, have left
        if path.name not in wanted:
            path.unlink(missing_ok=True)
    return manifest
