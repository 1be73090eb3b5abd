"""The first step of an index: what all its shards share is learned from a sample of the bank's rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import faiss
import numpy as np

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.manifest import write_text
from art2real.errors import UserError
from art2real.index.factory import chain, inverted_lists, resolve
from art2real.index.files import is_whole, usable, write_file
from art2real.index.left_out import nothing_to_hold
from art2real.index.manifest import Request, Source, Trained, index_folder
from art2real.index.retriever import unit_rows_and_norms

# Training rows for each inverted list; more place the centroids hardly better.
_ROWS_PER_LIST = 64
# Training rows for PCA and other transforms, and for codes of an index without lists.
_ROWS_FOR_CODES = 65_536
_ROWS_PER_BLOCK = 16_384


def train(bank: MemoryBank, scale: Scale, request: Request) -> Trained:
    """Learns the coarse quantizer, the transform and the codes from a seeded sample of the bank's rows.

    Raises:
        UserError: the bank is too small for the index type, or cannot be written to.
    """
    folder = index_folder(bank.path, scale)
    record_path = folder / "trained.json"
    source = Source.of(bank, scale)
    known = usable(record_path, Trained)
    if (
        known is not None
        and (known.request, known.source) == (request, source)
        and is_whole(bank.path, known.file)
    ):
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
    used = 0
    if not index.is_trained:
        rows = _sample(source.rows, max(lists * _ROWS_PER_LIST, _ROWS_FOR_CODES), request.seed, scale)
        used = _learn(index, spec.factory, bank, scale, request, rows)
    record = Trained(
        request=request,
        source=source,
        factory=spec.factory,
        metric=spec.metric,
        nprobe=spec.nprobe,
        rerank=spec.rerank,
        lists=lists,
        training_rows=used,
        faiss=faiss.__version__,
        file=write_file(bank.path, folder / "trained.index", partial(faiss.write_index, index)),
    )
    write_text(record_path, record.to_json())
    return record


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
    few = units(rows[:: -(-len(rows) // _ROWS_FOR_CODES)])
    if len(few) == 0:
        return few
    for transform in transforms:
        if not transform.is_trained:
            transform.train(few)
        few = transform.apply(few)
    reduced = []
    for at in range(0, len(rows), _ROWS_PER_BLOCK):
        values = units(rows[at : at + _ROWS_PER_BLOCK])
        for transform in transforms:
            values = transform.apply(values)
        reduced.append(values)
    return np.concatenate(reduced)
