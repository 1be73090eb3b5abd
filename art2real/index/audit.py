"""How much of the exact answer an index finds, and how many lists it has to scan for that."""

from __future__ import annotations

import time

import numpy as np
from scipy.ndimage import gaussian_filter

from art2real.core.patches import flatten_pixels
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.index.exact import ExactRetriever
from art2real.index.manifest import Audit, Trained
from art2real.index.protocol import Retriever
from art2real.index.retriever import BankRetriever, unit_rows
from art2real.index.shard import LocalShards

_QUERIES = 1000
_PHOTOS = 100
_BLUR = 1.0  # pixels
_NOISE = 3.0  # of 255
_NEIGHBOURS = 5
# Lists scanned at most: beyond, a search costs more than recall is worth to the loss.
_MOST_PROBES = 256
# Scanning more lists has to find more than this to be kept where the recall asked for is out of reach.
_WORTHWHILE = 0.005
# Products of query and row values in the exact search that a tuning may cost.
_EXACT_BUDGET = 4e12


def make_queries(bank: MemoryBank, scale: Scale, count: int, seed: int) -> np.ndarray:
    """Patches like those of a generator, and none of the bank's own rows: float32 `[count, D]` in [-1, 1].

    They are cut at random places, off the bank's grid, from photos of the bank that were mirrored, blurred
    (sigma 1 pixel) and noised (sigma 3 of 255): their content is that of photos, soft and a little wrong. A
    query taken from the bank's rows would find itself, and say that every index is perfect.
    """
    random = np.random.default_rng([seed, scale.size, scale.stride, 1])
    chosen = random.permutation(len(bank.photos))[:_PHOTOS]
    share = -(-count // len(chosen))
    patches = np.empty((share * len(chosen), scale.size, scale.size, 3), np.float32)
    for place, number in enumerate(chosen):
        mirrored = bank.photos[int(number)].pixels[:, ::-1].astype(np.float32)
        soft = gaussian_filter(mirrored, (_BLUR, _BLUR, 0))
        soft += random.normal(scale=_NOISE, size=soft.shape)
        tops, lefts = random.integers(0, bank.image_size - scale.size + 1, (2, share))
        for at, (top, left) in enumerate(zip(tops, lefts, strict=True), place * share):
            patches[at] = soft[top : top + scale.size, left : left + scale.size]
    # Spread over the photos before cutting to the count.
    patches = patches.reshape(len(chosen), share, -1, scale.size, 3).swapaxes(0, 1)
    patches = patches.reshape(-1, scale.size, scale.size, 3)[:count]
    return flatten_pixels(np.clip(patches, 0, 255)) * np.float32(2 / 255) - 1


def recall(
    bank: MemoryBank, scale: Scale, queries: np.ndarray, retriever: Retriever, exact_scores: np.ndarray
) -> tuple[float, float, float]:
    """Recall@1, recall@5 and queries per second of a retriever.

    Recall@k is the share of the k rows found that are as near as the k-th nearest row: a row as near as the
    true one, for example its copy in another photo, is as good.

    Args:
        queries: `[N, D]`. exact_scores: `[N, 5]` of exact search.
    """
    retriever.search(queries[:1], 1)  # the first search pays for what later ones find ready
    began = time.perf_counter()
    _, rows = retriever.search(queries, exact_scores.shape[1])
    seconds = time.perf_counter() - began
    mean = bank.mean(scale)
    found = unit_rows(bank.vectors(scale, rows.clip(min=0).ravel()), mean).reshape(*rows.shape, -1)
    scores = np.einsum("nkd,nd->nk", found, unit_rows(queries, mean))
    scores[rows < 0] = -np.inf
    existing = np.isfinite(exact_scores)
    hits = (scores >= exact_scores[:, -1:] - 1e-6) & existing
    if not existing.all():  # fewer rows than k: each one is among the nearest
        hits = existing & (rows >= 0)
    first = scores[:, 0] >= exact_scores[:, 0] - 1e-6
    return float(first.mean()), float(hits.sum() / existing.sum()), len(queries) / max(seconds, 1e-9)


def tune(bank: MemoryBank, scale: Scale, shards: LocalShards, trained: Trained) -> Audit:
    """Doubles the lists scanned until recall@1 is at least the request's `min_recall`, and leaves it at that.

    Where it cannot be reached, the index is kept with the fewest lists that come within 0.005 of its best
    recall@1, and the audit says so: neighbours found decide less about the loss than how the rest of the bank
    is estimated, so a low recall is a reason to choose another type, not to have none.
    """
    request = trained.request
    cost = bank.rows(scale) * scale.dimension
    queries = make_queries(bank, scale, int(np.clip(_EXACT_BUDGET / cost, 200, _QUERIES)), request.seed)
    exact_scores, _ = ExactRetriever(bank, scale, request.least_norm(scale)).search(queries, _NEIGHBOURS)
    most = min(max(trained.lists, 1), _MOST_PROBES)
    nprobe = min(trained.nprobe, most)
    audits: list[Audit] = []
    while True:
        for shard in shards.shards:
            shard.nprobe = nprobe
        retriever = BankRetriever(bank, scale, shards, trained=trained)
        at_1, at_5, speed = recall(bank, scale, queries, retriever, exact_scores)
        audits.append(
            Audit(
                recall_at_1=round(at_1, 4),
                recall_at_5=round(at_5, 4),
                nprobe=nprobe,
                reached=at_1 >= request.min_recall,
                queries=len(queries),
                queries_per_second=round(speed, 1),
            )
        )
        if audits[-1].reached:
            return audits[-1]
        if nprobe == most:
            best = max(audit.recall_at_1 for audit in audits)
            return next(audit for audit in audits if audit.recall_at_1 >= best - _WORTHWHILE)
        nprobe = min(2 * nprobe, most)
