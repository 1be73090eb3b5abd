"""Which FAISS index a scale of a bank gets."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

import faiss

from art2real.errors import UsageError

Metric = Literal["inner_product", "l2"]

# Below this many rows a full scan takes milliseconds, and lists would be too short to learn.
_SMALL_BANK = 10_000
# k-means needs this many training rows a list to place its centroids well (FAISS warns below it).
MIN_ROWS_PER_LIST = 39
# Values that PCA keeps of a patch: recall@1 0.96-0.98 after re-ranking, at a sixth of the bytes and more.
_REDUCED = 64
_DEFAULT_PROBES = 16
_RERANK = 20


@dataclass(frozen=True)
class IndexSpec:
    """A FAISS index type and how it is searched."""

    factory: str  # FAISS factory string
    metric: Metric
    nprobe: int  # lists scanned for a query, before the audit tunes it; 1 where there are no lists
    rerank: int  # best candidates scored again with exact patches; 0: the index's own scores stand

    def new(self, dimension: int) -> Any:
        """An empty, untrained `faiss.Index` of this type."""
        metric = faiss.METRIC_INNER_PRODUCT if self.metric == "inner_product" else faiss.METRIC_L2
        return faiss.index_factory(dimension, self.factory, metric)


def resolve(text: str, dimension: int, rows: int) -> IndexSpec:
    """`choose` for "auto", `parse` for everything else."""
    return choose(dimension, rows) if text == "auto" else parse(text, dimension)


def choose(dimension: int, rows: int) -> IndexSpec:
    """The index type for `rows` patches of `dimension` values.

    Few rows are scanned exactly. More go into inverted lists, half-precision codes inside; wide patches are
    reduced by PCA first, and re-ranked.
    """
    if rows < _SMALL_BANK:
        return IndexSpec("Flat", "inner_product", nprobe=1, rerank=0)
    lists = list_count(rows)
    if dimension > _REDUCED:
        return parse(f"PCA{_REDUCED},IVF{lists},SQfp16", dimension)
    return parse(f"IVF{lists},SQfp16", dimension)


def list_count(rows: int) -> int:
    """About 4 sqrt(rows), as a power of two, and no more than the rows can train."""
    wanted = round(math.log2(4 * math.sqrt(max(rows, 1))))
    most = int(math.log2(max(rows // MIN_ROWS_PER_LIST, 1)))
    return int(2 ** min(wanted, most))


def parse(text: str, dimension: int) -> IndexSpec:
    """Reads a FAISS factory string, for example `PCA64,IVF4096,SQ8`.

    Codes that round coarsely are compared by L2 and re-ranked: with inner products they order rows badly,
    and on rows of unit length both orders are the same. Exact and half-precision rows keep the inner product.

    Raises:
        UsageError: FAISS cannot build such an index over `dimension` values.
    """
    # Rows are numbered by their order, so that every type can be used; the wrapper would add ids again.
    factory = re.sub(r"^IDMap2?,|,IDMap2?$", "", text.replace(" ", ""))
    parts = factory.split(",")
    fine = all(re.fullmatch(r"Flat|SQfp16|IVF\d+(_HNSW\d+)?", part) for part in parts)
    spec = IndexSpec(
        factory, "inner_product" if fine else "l2", nprobe=_DEFAULT_PROBES, rerank=0 if fine else _RERANK
    )
    try:
        lists = list_count_of(spec.new(dimension))
    except (RuntimeError, AssertionError, ValueError) as error:
        # FAISS writes "Error in FUNCTION at FILE:LINE: REASON"; the reader needs the reason alone.
        reason = re.sub(r"^Error in .*? at \S+:\d+: ", "", str(error).splitlines()[0], flags=re.DOTALL)
        raise UsageError(
            f"FAISS has no index {text!r} for patches of {dimension} values ({reason}); "
            "write auto, or a type such as Flat, IVF1024,SQfp16 or PCA64,IVF1024,SQ8"
        ) from None
    return IndexSpec(factory, spec.metric, nprobe=min(_DEFAULT_PROBES, lists or 1), rerank=spec.rerank)


def inverted_lists(index: Any) -> Any | None:
    """The IVF part of an index, None if it has none."""
    try:
        return faiss.extract_index_ivf(index)
    except RuntimeError:
        return None


def chain(index: Any) -> list[Any]:
    """The `faiss.VectorTransform`s that an index puts its rows through first, in order."""
    index = faiss.downcast_index(index)
    if not isinstance(index, faiss.IndexPreTransform):
        return []
    steps: Any = index.chain
    return [faiss.downcast_VectorTransform(steps.at(number)) for number in range(steps.size())]


def list_count_of(index: Any) -> int:
    """Inverted lists of an index, 0 if it has none."""
    ivf = inverted_lists(index)
    return 0 if ivf is None else int(ivf.nlist)
