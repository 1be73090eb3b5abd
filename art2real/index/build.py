"""Builds the index of one scale, in steps that may run in other processes: train, add each shard, finish.

All shards share what the first step trained, so that their merged answers are those of one index. Each step
leaves a record after its file; a step whose record fits what is asked for is not done again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.manifest import FileEntry, describe_file, temporary_name, write_text
from art2real.errors import UsageError, UserError
from art2real.index.audit import tune
from art2real.index.factory import chain, inverted_lists, resolve
from art2real.index.manifest import (
    MANIFEST,
    IndexManifest,
    Part,
    Record,
    Request,
    Source,
    Trained,
    index_folder,
    read_manifest,
    read_record,
)
from art2real.index.retriever import unit_rows
from art2real.index.shard import IndexShard, LocalShards, read_index

# Training rows for each inverted list; more place the centroids hardly better.
_ROWS_PER_LIST = 64
# Training rows for PCA and other transforms, and for codes of an index without lists.
_ROWS_FOR_CODES = 65_536
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
        UserError: there is an index, but another one.
    """
    manifest = read_manifest(bank.path, scale)
    if manifest is None:
        return None
    asked, had = request.model_dump(), manifest.trained.request.model_dump()
    differences = [f"{name} {had[name]}, not {asked[name]}" for name in asked if asked[name] != had[name]]
    if manifest.trained.source != Source.of(bank, scale):
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


def train(bank: MemoryBank, scale: Scale, request: Request) -> Trained:
    """Learns the coarse quantizer, the transform and the codes from a seeded sample of the bank's rows.

    Raises:
        UserError: the bank is too small for the index type, or cannot be written to.
    """
    folder = index_folder(bank.path, scale)
    record_path = folder / "trained.json"
    source = Source.of(bank, scale)
    known = _usable(record_path, Trained)
    if known is not None and (known.request, known.source) == (request, source) and _whole(bank, known.file):
        return known
    spec = resolve(request.factory, scale.dimension, source.rows)
    index = spec.new(scale.dimension)
    ivf = inverted_lists(index)
    lists = 0 if ivf is None else int(ivf.nlist)
    if source.rows < max(lists, 1):
        raise UserError(
            f"index {spec.factory} needs at least {lists} patches, bank {bank.path} has {source.rows} at "
            f"scale {scale}; write fewer lists, or auto"
        )
    if ivf is not None:
        ivf.cp.seed = request.seed + 1
        ivf.cp.min_points_per_centroid = 1  # a short list is the user's choice: no warning on stdout
    rows = _sample(source.rows, max(lists * _ROWS_PER_LIST, _ROWS_FOR_CODES), request.seed, scale)
    if not index.is_trained:
        try:
            _learn(index, bank, scale, rows)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].rsplit("failed: ", 1)[-1]
            raise UserError(
                f"index {spec.factory} cannot be trained on the {len(rows)} patches of bank {bank.path} at "
                f"scale {scale} ({reason}); write a smaller type, or auto"
            ) from None
    record = Trained(
        request=request,
        source=source,
        factory=spec.factory,
        metric=spec.metric,
        nprobe=spec.nprobe,
        rerank=spec.rerank,
        lists=lists,
        training_rows=len(rows),
        faiss=faiss.__version__,
        file=_write_index(index, bank, folder / "trained.index"),
    )
    write_text(record_path, record.to_json())
    return record


def add_shard(bank: MemoryBank, scale: Scale, trained: Trained, number: int, shards: tuple[int, ...]) -> Part:
    """Writes index shard `number` over the rows of consecutive bank shards.

    Raises:
        UserError: the trained index is damaged, or the bank cannot be written to.
    """
    folder = index_folder(bank.path, scale)
    path = folder / f"part-{number:05d}.index"
    known = _usable(path.with_suffix(".json"), Part)
    if (
        known is not None
        and (known.trained_checksum, known.bank_shards) == (trained.file.checksum, shards)
        and _whole(bank, known.file)
    ):
        return known
    ranges = bank.shard_rows(scale)
    first, end = ranges[shards[0]].start, ranges[shards[-1]].stop
    index = read_index(bank.path / trained.file.path, trained.file.bytes)
    for rows in _blocks(np.arange(first, end)):
        index.add(unit_rows(bank.vectors(scale, rows), bank.mean(scale)))
    part = Part(
        trained_checksum=trained.file.checksum,
        bank_shards=shards,
        first_row=first,
        rows=end - first,
        file=_write_index(index, bank, path),
    )
    write_text(path.with_suffix(".json"), part.to_json())
    return part


def finish(bank: MemoryBank, scale: Scale, trained: Trained, parts: list[Part]) -> IndexManifest:
    """Tunes and audits the index, and writes its manifest: from then on it exists.

    Raises:
        UserError: a shard is damaged, or the bank cannot be written to.
    """
    shards = [IndexShard.load(bank.path / part.file.path, trained.nprobe) for part in parts]
    audit = tune(bank, scale, LocalShards(shards), trained)
    manifest = IndexManifest(trained=trained, parts=tuple(parts), audit=audit)
    folder = index_folder(bank.path, scale)
    write_text(folder / MANIFEST, manifest.to_json())
    wanted = [bank.path / file.path for file in manifest.files]
    for path in folder.iterdir():  # what interrupted builds, of other shards perhaps, have left
        if path.name != MANIFEST and path.with_suffix(".index") not in wanted:
            path.unlink(missing_ok=True)
    return manifest


def _sample(total: int, count: int, seed: int, scale: Scale) -> np.ndarray:
    """Row numbers to train on, int64, sorted: neighbours on disk are read together."""
    if count >= total:
        return np.arange(total)
    random = np.random.default_rng([seed, scale.size, scale.stride])
    return np.sort(random.choice(total, count, replace=False, shuffle=False))


def _learn(index: Any, bank: MemoryBank, scale: Scale, rows: np.ndarray) -> None:
    """Trains `index`. Transforms come first, so that the sample is only held at its reduced width."""
    mean = bank.mean(scale)

    def unit_sample(rows: np.ndarray) -> np.ndarray:
        return unit_rows(bank.vectors(scale, rows), mean)

    if not isinstance(index, faiss.IndexPreTransform):
        index.train(unit_sample(rows))
        return
    transforms = chain(index)
    few = unit_sample(rows[:: -(-len(rows) // _ROWS_FOR_CODES)])
    for transform in transforms:
        if not transform.is_trained:
            transform.train(few)
        few = transform.apply(few)
    reduced = []
    for block in _blocks(rows):
        values = unit_sample(block)
        for transform in transforms:
            values = transform.apply(values)
        reduced.append(values)
    faiss.downcast_index(index.index).train(np.concatenate(reduced))
    index.is_trained = True


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    for at in range(0, len(rows), _ROWS_PER_BLOCK):
        yield rows[at : at + _ROWS_PER_BLOCK]


def _usable(path: Path, kind: type[Record]) -> Record | None:
    """The record of a step that was done; a damaged one counts as none: its step is done again."""
    try:
        return read_record(path, kind)
    except UserError:
        return None


def _whole(bank: MemoryBank, file: FileEntry) -> bool:
    path = bank.path / file.path
    return path.is_file() and path.stat().st_size == file.bytes


def _write_index(index: Any, bank: MemoryBank, path: Path) -> FileEntry:
    """Writes a file that is there whole or not at all, and describes it."""
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        faiss.write_index(index, str(temporary))
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"index file {path} cannot be written: {str(error)[-160:]}") from None
    return describe_file(bank.path, path.relative_to(bank.path).as_posix())
