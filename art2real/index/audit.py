"""How much of the exact answer an index finds, and how many lists it has to scan for that."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.index.exact import ExactRetriever
from art2real.index.held_out import HeldOutShards, ShardFiles
from art2real.index.manifest import Audit, Trained
from art2real.index.queries import held_out_queries
from art2real.index.retriever import BankRetriever, unit_rows
from art2real.index.shard import LocalShards

_QUERIES = 1000
_NEIGHBOURS = 5
# Lists scanned at most: beyond, a search costs more than recall is worth to the loss.
_MOST_PROBES = 256
# Scanning more lists has to find more than this to be kept where the recall asked for is out of reach.
_WORTHWHILE = 0.005
# Products of query and row values in the exact search that a tuning may cost.
_EXACT_BUDGET = 4e12


def recall(
    bank: MemoryBank, scale: Scale, queries: np.ndarray, rows: np.ndarray, exact_scores: np.ndarray
) -> tuple[float, float]:
    """Recall@1 and recall@k of the rows that were found.

    Recall@k is the share of the k rows found that are as near as the k-th nearest row: a row as near as the
    true one, for example its copy in another photo, is as good. Queries that have no nearest row do not
    count; where none has one, nothing was missed.

    Args:
        queries: `[N, D]`. rows: int64 `[N, k]`, -1 where none was found. exact_scores: `[N, k]` of exact
            search, -inf where there is no row.
    """
    mean = bank.mean(scale)
    found = unit_rows(bank.vectors(scale, rows.clip(min=0).ravel()), mean).reshape(*rows.shape, -1)
    scores = np.einsum("nkd,nd->nk", found, unit_rows(queries, mean))
    scores[rows < 0] = -np.inf
    existing = np.isfinite(exact_scores)
    # Of fewer rows than k each one is among the nearest, as the farthest of them is.
    farthest = np.where(existing, exact_scores, np.inf).min(axis=1, keepdims=True)
    hits = existing & (scores >= farthest - 1e-6)
    first = existing[:, 0] & (scores[:, 0] >= exact_scores[:, 0] - 1e-6)
    if not existing.any():
        return 1.0, 1.0
    return float(first.sum() / existing[:, 0].sum()), float(hits.sum() / existing.sum())


def tune(
    bank: MemoryBank, scale: Scale, files: Sequence[Path], trained: Trained, nprobe: int
) -> tuple[Audit, Audit]:
    """Doubles the lists scanned until recall@1 is at least the request's `min_recall`, and leaves it at that.

    Where it cannot be reached, the index is kept with the fewest lists that come within 0.005 of its best
    recall@1, and the audit says so: neighbours found decide less about the loss than how the rest of the bank
    is estimated, so a low recall is a reason to choose another type, not to have none.

    Args:
        files: the index's shards, of which one is in memory at a time. nprobe: lists scanned at first.

    Returns:
        The audit of the lists that were chosen, and of those scanned at first.
    """
    request = trained.request
    cost = bank.rows(scale) * scale.dimension
    count = int(np.clip(_EXACT_BUDGET / cost, 200, _QUERIES))
    queries, own = held_out_queries(bank, scale, count, request.seed)
    exact = ExactRetriever(bank, scale, request.least_norm(scale))
    exact_scores, _ = exact.search(queries, _NEIGHBOURS, without=own)

    shards = ShardFiles(files)
    retriever = BankRetriever(bank, scale, HeldOutShards(shards, own), trained)
    most = min(max(trained.lists, 1), _MOST_PROBES)
    shards.nprobe = min(nprobe, most)
    audits: list[Audit] = []
    while True:
        rows = retriever.search(queries, _NEIGHBOURS)[1]
        at_1, at_5 = recall(bank, scale, queries, rows, exact_scores)
        audits.append(
            Audit(
                recall_at_1=round(at_1, 4),
                recall_at_5=round(at_5, 4),
                nprobe=shards.nprobe,
                reached=at_1 >= request.min_recall,
                queries=len(queries),
                queries_per_second=0,
            )
        )
        if audits[-1].reached or shards.nprobe == most:
            break
        shards.nprobe = min(2 * shards.nprobe, most)
    best = max(audit.recall_at_1 for audit in audits)
    chosen = next(audit for audit in audits if audit.reached or audit.recall_at_1 >= best - _WORTHWHILE)
    shards.nprobe = chosen.nprobe
    speed = _queries_per_second(BankRetriever(bank, scale, LocalShards(shards), trained), shards, queries)
    return chosen.model_copy(update={"queries_per_second": round(speed, 1)}), audits[0]


def _queries_per_second(retriever: BankRetriever, shards: ShardFiles, queries: np.ndarray) -> float:
    """Of one batch over all rows, without the time that it takes to read the shards."""
    retriever.search(queries[:1], 1)  # the first search pays for what later ones find ready
    reading, began = shards.seconds_reading, time.perf_counter()
    retriever.search(queries, _NEIGHBOURS)
    seconds = time.perf_counter() - began - (shards.seconds_reading - reading)
    return len(queries) / max(seconds, 1e-9)
