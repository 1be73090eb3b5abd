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
# Values that PCA keeps of a patch. In half precision 56 take 120 bytes a row, and re-ranking brings recall@1
# to 0.96 and more; with a byte each there is room for more of them.
_REDUCED = 56
_REDUCED_TO_BYTES = 64
_PRODUCT_CODES = 32  # bytes of a product code of a wide patch
# Bytes of a product code that FAISS's GPU version knows, of those that are less than `_PRODUCT_CODES`.
_GPU_PRODUCT_CODES = (28, 24, 20, 16, 12, 8, 4, 3, 2, 1)
_LINKS_OF_A_GRAPH = 256  # bytes a row
# Share of the values at either end that the range of scalar codes leaves out: the rest is coded finer.
_OUTSIDE_RANGE = 0.01
_DEFAULT_PROBES = 8
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
        index = faiss.index_factory(dimension, self.factory, metric)
        _set_training(index)
        return index


def resolve(text: str, dimension: int, rows: int) -> IndexSpec:
    """The type that is best of those that `text` allows; see `candidates`."""
    return candidates(text, dimension, rows)[0]


def candidates(text: str, dimension: int, rows: int) -> list[IndexSpec]:
    """The index types that `text` allows for `rows` patches of `dimension` values, finest first.

    A factory string allows one. "auto" scans few rows exactly. More go into inverted lists: wide patches are
    reduced by PCA, and re-ranked; codes are half-precision, one byte, or, at half of that, product codes.
    All of these have a version for the GPU.

    Raises:
        UsageError: FAISS has no such index type.
    """
    if text != "auto":
        return [parse(text, dimension)]
    if rows < _SMALL_BANK:
        return [IndexSpec("Flat", "inner_product", nprobe=1, rerank=0)]
    lists = f"IVF{list_count(rows)}"
    if dimension > _REDUCED_TO_BYTES:
        products = f"OPQ{_PRODUCT_CODES}_{_product_width(dimension)},{lists},PQ{_PRODUCT_CODES}"
        types = [f"PCA{_REDUCED},{lists},SQfp16", f"PCA{_REDUCED_TO_BYTES},{lists},SQ8", products]
    else:
        types = [f"{lists},SQfp16", f"{lists},SQ8", f"{lists},PQ{_narrow_codes(dimension)}"]
    return [parse(each, dimension) for each in types]


def _product_width(dimension: int) -> int:
    """Values that OPQ turns a wide patch into: more where there is more to keep."""
    return 128 if dimension > 256 else 64


def _narrow_codes(dimension: int) -> int:
    """Bytes of the product code of a patch of few values: about one for two values."""
    return next(count for count in _GPU_PRODUCT_CODES if dimension % count == 0 and count <= dimension // 2)


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


def _set_training(index: Any) -> None:
    """Lets scalar codes learn their range from quantiles instead of from the largest values.

    Product codes are not numbered for comparisons of bits: it takes ten times as long, and nobody makes any.
    """
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        _set_training(index.index)
    elif isinstance(index, faiss.IndexRefine):
        _set_training(index.base_index)
    elif isinstance(index, (faiss.IndexScalarQuantizer, faiss.IndexIVFScalarQuantizer)):
        index.sq.rangestat = faiss.ScalarQuantizer.RS_quantiles
        index.sq.rangestat_arg = _OUTSIDE_RANGE
    elif hasattr(index, "do_polysemous_training"):
        index.do_polysemous_training = False


def bytes_per_row(index: Any) -> int:
    """Bytes that FAISS holds for each row: its code, its number in a list, its links in a graph."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return bytes_per_row(index.index)
    if isinstance(index, faiss.IndexRefine):
        return bytes_per_row(index.base_index) + bytes_per_row(index.refine_index)
    if isinstance(index, faiss.IndexIVF):
        return int(index.code_size) + 8
    if isinstance(index, faiss.IndexHNSW):
        return bytes_per_row(index.storage) + 4 * _links(index)
    try:
        return int(index.sa_code_size())
    except RuntimeError:  # another graph, over exact rows
        return int(4 * index.d + _LINKS_OF_A_GRAPH)


def _links(graph: Any) -> int:
    """Links of a row of an HNSW index at its lowest level, where nearly all of them are."""
    return int(graph.hnsw.nb_neighbors(0))


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
