"""One, four and sixteen million rows: how the search and the build grow with the bank."""

from __future__ import annotations

import shutil
import time

from common import alternate, spread
from retrieval_bank import Corpus, build

from art2real.core.scale import Scale
from art2real.index.manifest import Request, check_index, index_folder
from art2real.index.queries import make_queries
from art2real.index.retriever import open_retriever

SCALE = Scale(4, 3)  # 7,225 patches of a photo of 256 px
PHOTOS = (139, 554, 2215)
QUERIES = 4096  # of one image, about
REPEATS = 5


def rows(corpus: Corpus) -> list[dict[str, object]]:
    """The type that `auto` chooses, with the lists that reach recall@1 0.95."""
    queries = make_queries(corpus.held_out(), Scale(4, 4), QUERIES, 0)
    retrievers, entries = {}, {}
    for photos in PHOTOS:
        bank = corpus.bank(photos, (SCALE,))
        shutil.rmtree(index_folder(bank.path, SCALE), ignore_errors=True)
        begun = time.perf_counter()
        build(bank, SCALE, Request())
        seconds = time.perf_counter() - begun
        manifest = check_index(bank, SCALE)
        retrievers[photos] = open_retriever(bank, SCALE)
        entries[photos] = {
            "rows": f"{bank.rows(SCALE):,}",
            "index": manifest.trained.factory,
            "nprobe": manifest.nprobe,
            "recall@1": manifest.audit.recall_at_1,
            "build s": round(seconds),
            "MB": round(manifest.bytes / 1e6),
        }
        print(entries[photos], flush=True)
    timed = alternate(
        {
            str(photos): lambda retriever=retriever: retriever.search(queries, 5)
            for photos, retriever in retrievers.items()
        },
        repeats=REPEATS,
    )
    for photos, entry in entries.items():
        speed = spread([QUERIES / seconds for seconds in timed[str(photos)]])
        entry["queries/s"] = round(speed["median"])
        entry["least - greatest"] = f"{speed['least']:,.0f} - {speed['greatest']:,.0f}"
    return list(entries.values())
