"""Index types at each scale: recall of held-out queries, speed against a full scan, bytes, time to build."""

from __future__ import annotations

import time

import faiss
import numpy as np
from common import alternate, spread
from retrieval_bank import SCALES, Corpus, indexed

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.index.audit import recall
from art2real.index.factory import candidates
from art2real.index.manifest import check_index
from art2real.index.queries import make_queries
from art2real.index.retriever import open_retriever, unit_rows

QUERIES = 1000
NEIGHBOURS = 5
REPEATS = 3


def rows(corpus: Corpus) -> list[dict[str, object]]:
    """The type that `auto` chooses and the two that it would choose with less memory."""
    bank, held_out = corpus.bank(), corpus.held_out()
    return [row for scale in SCALES for row in _scale(bank, scale, make_queries(held_out, scale, QUERIES, 0))]


def _scale(bank: MemoryBank, scale: Scale, queries: np.ndarray) -> list[dict[str, object]]:
    result: list[dict[str, object]] = []
    mean = bank.mean(scale)
    flat = faiss.IndexFlatIP(scale.dimension)
    for block in bank.blocks(scale):
        flat.add(unit_rows(block, mean))
    units = unit_rows(queries, mean)
    exact_scores, _ = flat.search(units, NEIGHBOURS)
    for spec in candidates("auto", scale.dimension, bank.rows(scale)):
        begun = time.perf_counter()
        with_index = indexed(bank, scale, spec.factory, anew=True)
        seconds = time.perf_counter() - begun
        manifest = check_index(with_index, scale)
        retriever = open_retriever(with_index, scale)
        runs = {
            "flat": lambda: flat.search(units, NEIGHBOURS),
            "index": lambda retriever=retriever: retriever.search(queries, NEIGHBOURS),
        }
        at_1, at_5 = recall(bank, scale, queries, retriever.search(queries, NEIGHBOURS)[1], exact_scores)
        timed = alternate(runs, repeats=REPEATS)
        ratios = spread([a / b for a, b in zip(timed["flat"], timed["index"], strict=True)])
        result.append(
            {
                "scale": str(scale),
                "rows": f"{bank.rows(scale):,}",
                "index": spec.factory,
                "nprobe": manifest.nprobe,
                "recall@1": round(at_1, 3),
                "recall@5": round(at_5, 3),
                "queries/s": round(QUERIES / spread(timed["index"])["median"]),
                "× Flat": round(ratios["median"], 1),
                "least - greatest": f"{ratios['least']:.1f} - {ratios['greatest']:.1f}",
                "bytes a row": round(manifest.bytes / manifest.covers.rows, 1),
                "build s": round(seconds),
            }
        )
        print(result[-1], flush=True)
    return result
