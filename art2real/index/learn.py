"""The first step of an index: what all its shards share is learned from a sample of the bank's rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.manifest import write_text
from art2real.errors import UserError
from art2real.index.factory import IndexSpec, chain, inverted_lists, resolve
from art2real.index.files import is_whole, usable, write_file
from art2real.index.left_out import nothing_to_hold
from art2real.index.manifest import MANIFEST, IndexManifest, Request, Source, Trained, index_folder
from art2real.index.retriever import unit_rows_and_norms

# Training rows for each inverted list; more place the centroids hardly better.
_ROWS_PER_LIST = 64
# Training rows for PCA and other transforms, and for codes of an index without lists.
ROWS_FOR_CODES = 65_536
ROWS_PER_BLOCK = 16_384


def known_training(bank: MemoryBank, scale: Scale, request: Request) -> Trained | None:
    """What was learned for this request and needs not be learned again; None if nothing was.

    A complete index to whose bank shards were appended keeps what it has learned.
    """
    source = Source.of(bank, scale)
    complete = usable(index_folder(bank.path, scale) / MANIFEST, IndexManifest)
    if complete is not None and complete.covers.grew_into(source) and complete.trained.request == request:
        return complete.trained
    known = usable(_record(bank, scale), Trained)
    if (
        known is not None
        and (known.request, known.source) == (request, source)
        and is_whole(bank.path, known.file)
    ):
        return known
    return None


def train(bank: MemoryBank, scale: Scale, request: Request, spec: IndexSpec | None = None) -> Trained:
    """Learns the coarse quantizer, the transform and the codes from a seeded sample of the bank's rows.

    Args:
        spec: the type that the request's factory stands for; None: the finest.

    Raises:
        UserError: the bank is too small for the index type, or cannot be written to.
    """
    known = known_training(bank, scale, request)
    if known is not None:
        return known
    source = Source.of(bank, scale)
    spec = spec or resolve(request.factory, scale.dimension, source.rows)
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
    used = 0
    if not index.is_trained:
        rows = _sample(source.rows, training_rows(lists), request.seed, scale)
        used = _learn(index, spec.factory, bank, scale, request, rows)
    record = Trained(
        request=request,
        source=source,
        mean=tuple(bank.mean(scale).tolist()),
        factory=spec.factory,
        metric=spec.metric,
        nprobe=spec.nprobe,
        rerank=spec.rerank,
        lists=lists,
        training_rows=used,
        faiss=faiss.__version__,
        file=write_file(
            bank.path, _record(bank, scale).with_suffix(".index"), partial(faiss.write_index, index)
        ),
    )
    write_text(_record(bank, scale), record.to_json())
    return record


def training_rows(lists: int) -> int:
    """Rows that an index with so many lists learns from, at most."""
    return max(lists * _ROWS_PER_LIST, ROWS_FOR_CODES)


def _record(bank: MemoryBank, scale: Scale) -> Path:
    return index_folder(bank.path, scale) / "trained.json"


def _sample(total: int, count: int, seed: int, scale: Scale) -> np.ndarray:
    """Row numbers to train on, int64, sorted: neighbours on disk are read together."""
    if count >= total:
        return np.arange(total)
    random = np.random.default_rng([seed, scale.size, scale.stride])
    return np.sort(random.choice(total, count, replace=False, shuffle=False))


def _learn(
    index: Any, factory: str, bank: MemoryBank, scale: Scale, request: Request, rows: np.ndarray
) -> int:
    """Trains `index` on those of `rows` that it will not leave out; returns how many they are."""
    mean, least = bank.mean(scale), request.least_norm(scale)

    def units(rows: np.ndarray) -> np.ndarray:
        values, norms = unit_rows_and_norms(bank.vectors(scale, rows), mean)
        return values[norms >= least]

    used = len(rows)
    try:
        transforms = chain(index)
        values = _reduced(transforms, units, rows) if transforms else units(rows)
        used = len(values)
        if used == 0:
            raise nothing_to_hold(bank, scale, request)
        (faiss.downcast_index(index.index) if transforms else index).train(values)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].rsplit("failed: ", 1)[-1]
        plain = f", {len(rows) - used:,} near-constant ones left out" if used < len(rows) else ""
        raise UserError(
            f"index {factory} cannot be trained on the {used} patches of bank {bank.path} at "
            f"scale {scale}{plain} ({reason}); write a smaller type, or auto"
        ) from None
    index.is_trained = True
    return used


def _reduced(
    transforms: list[Any], units: Callable[[np.ndarray], np.ndarray], rows: np.ndarray
) -> np.ndarray:
    """The training rows behind the transforms, which are trained first: so that the sample is only held at
    its reduced width. Empty where `units` leaves nothing to train the transforms on."""
    few = units(rows[:: -(-len(rows) // ROWS_FOR_CODES)])
    if len(few) == 0:
        return few
    for transform in transforms:
        if not transform.is_trained:
            transform.train(few)
        few = transform.apply(few)
    reduced = []
    for at in range(0, len(rows), ROWS_PER_BLOCK):
        values = units(rows[at : at + ROWS_PER_BLOCK])
        for transform in transforms:
            values = transform.apply(values)
        reduced.append(values)
    return np.concatenate(reduced)
