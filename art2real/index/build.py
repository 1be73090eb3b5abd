"""Builds the index of one scale, in steps that may run in other processes: train, add each shard, finish.

All shards share what the first step trained (`art2real.index.learn`), so that their merged answers are those
of one index. Each step leaves a record after its files; a step whose record fits what is asked for is not
done again.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.manifest import write_text
from art2real.errors import UsageError, UserError
from art2real.index.audit import tune
from art2real.index.factory import inverted_lists, resolve
from art2real.index.files import is_whole, usable, write_file
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
    what_is_lacking,
)
from art2real.index.retriever import unit_rows_and_norms
from art2real.index.shard import IndexShard, LocalShards, read_index

_ROWS_PER_BLOCK = 16_384


def plan(bank: MemoryBank, shards: int) -> list[tuple[int, ...]]:
    """The bank shards that each index shard covers; never more index shards than bank shards.

    Raises:
        UsageError: `shards` < 1.
    """
    if shards < 1:
        raise UsageError(f"--shards must be at least 1, got {shards}")
    numbers = np.array_split(np.arange(len(bank.shards)), min(shards, len(bank.shards)))
    return [tuple(int(number) for number in part) for part in numbers]


def expected(bank: Path, factory: str, shards: int) -> list[dict[str, Any]]:
    """What `factory` would build for each scale of a bank, and its bytes; builds nothing.

    Raises:
        UsageError: FAISS has no such index type, or `shards` < 1. UserError: there is no bank.
    """
    opened = MemoryBank.open(bank)
    plans = []
    for scale in opened.scales:
        rows = opened.rows(scale)
        spec = resolve(factory, scale.dimension, rows)
        index = spec.new(scale.dimension)
        ivf = inverted_lists(index)
        # In lists each row has its number beside its code; the lists have their centroids.
        code = index.sa_code_size() if ivf is None else ivf.code_size + 8
        centroids = 0 if ivf is None else 4 * ivf.nlist * ivf.d
        plans.append(
            {
                "size": scale.size,
                "stride": scale.stride,
                "rows": rows,
                "factory": spec.factory,
                "shards": len(plan(opened, shards)),
                "bytes": rows * code + centroids * (1 + len(plan(opened, shards))),
            }
        )
    return plans


def finished(bank: MemoryBank, scale: Scale, request: Request) -> IndexManifest | None:
    """The complete index that `request` asks for; None if it is yet to be built.

    Raises:
        UserError: there is an index, but another one, or the bank was appended to since.
    """
    manifest = read_manifest(bank.path, scale)
    if manifest is None:
        return None
    source = Source.of(bank, scale)
    if manifest.trained.source.grew_into(source):
        raise UserError(what_is_lacking(bank.path, manifest.trained.source, source))
    asked, had = request.model_dump(), manifest.trained.request.model_dump()
    differences = [f"{name} {had[name]}, not {asked[name]}" for name in asked if asked[name] != had[name]]
    if manifest.trained.source != source:
        differences.insert(0, "it was built from an older state of the bank")
    if differences:
        raise UserError(
            f"bank {bank.path} has another index at scale {scale} ({differences[0]}); "
            "keep it, or replace it with --overwrite"
        )
    return manifest


def discard(bank: MemoryBank, scale: Scale) -> None:
    """Deletes the index of a scale, its manifest first: what has no manifest does not exist."""
    folder = index_folder(bank.path, scale)
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def add_shard(bank: MemoryBank, scale: Scale, trained: Trained, number: int, shards: tuple[int, ...]) -> Part:
    """Writes index shard `number` over the rows of consecutive bank shards, near-constant ones left out.

    Raises:
        UserError: the trained index is damaged, or the bank cannot be written to.
    """
    path = index_folder(bank.path, scale) / f"part-{number:05d}.index"
    known = usable(path.with_suffix(".json"), Part)
    if (
        known is not None
        and (known.trained, known.bank_shards) == (trained.identity, shards)
        and is_whole(bank.path, known.file)
        and is_whole(bank.path, known.left_out)
    ):
        return known
    ranges = bank.shard_rows(scale)
    first, end = ranges[shards[0]].start, ranges[shards[-1]].stop
    index = read_index(bank.path / trained.file.path, trained.file.bytes)
    mean, least = bank.mean(scale), trained.request.least_norm(scale)
    rows_left_out, norms_left_out = [], []
    for at in range(first, end, _ROWS_PER_BLOCK):
        rows = np.arange(at, min(at + _ROWS_PER_BLOCK, end))
        vectors, norms = unit_rows_and_norms(bank.vectors(scale, rows), mean)
        out = norms < least
        if not out.all():  # some types crash when nothing is added
            index.add(vectors[~out])
        rows_left_out.append(rows[out])
        norms_left_out.append(norms[out])
    part = Part(
        trained=trained.identity,
        bank_shards=shards,
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
    shards = [IndexShard.load(bank.path / part.file.path, trained.nprobe) for part in parts]
    audit = tune(bank, scale, LocalShards(shards), trained)
    manifest = IndexManifest(trained=trained, parts=tuple(parts), audit=audit)
    folder = index_folder(bank.path, scale)
    write_text(folder / MANIFEST, manifest.to_json())
    files = [Path(file.path) for file in manifest.files]
    wanted = {MANIFEST, *(file.name for file in files), *(file.with_suffix(".json").name for file in files)}
    for path in folder.iterdir():  # what interrupted builds, of other shards perhaps, have left
        if path.name not in wanted:
            path.unlink(missing_ok=True)
    return manifest
