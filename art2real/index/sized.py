"""Index types for counting only: with any number of lists, and none of them in memory.

FAISS makes room for every list as soon as it makes an index: a billion photos' worth of lists would be
gigabytes, for a plan that only wants to know how large they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from art2real.errors import UsageError
from art2real.index.factory import (
    IndexSpec,
    bytes_per_row,
    candidates,
    chain,
    inverted_lists,
    list_count,
    list_count_of,
    parse,
)

# Rows for which `candidates` names types with lists; the lists are then those of the true number of rows.
_SOME_ROWS = 100_000
# With no more lists an index of a given type is made once, so that FAISS says what is wrong.
_MOST_LISTS_MADE = 65_536
_LISTS = re.compile(r"IVF(\d+)")


@dataclass(frozen=True)
class SizedSpec(IndexSpec):
    """An index type whose `new` gives an index that says its sizes, and can neither learn nor hold rows."""

    def new(self, dimension: int) -> Any:
        """An empty index of this type that reports all its lists; never to be changed: others have it."""
        return _empty(self, dimension)


@lru_cache(maxsize=64)
def _empty(spec: SizedSpec, dimension: int) -> Any:
    few = IndexSpec(_LISTS.sub("IVF1", spec.factory), spec.metric, spec.nprobe, spec.rerank)
    index = few.new(dimension)
    ivf = inverted_lists(index)
    if ivf is not None:
        ivf.nlist = lists_of(spec)
    return index


@dataclass(frozen=True)
class Shape:
    """What the times of an index hang on."""

    lists: int
    """0: every row is scanned."""
    width: int
    """Values of a row behind the transforms, which the lists' centroids have too."""
    transform: int
    """Multiply-adds that a row takes in the transforms."""
    code: int
    """Bytes of a row's code."""
    codec: str
    """Flat, SQfp16, SQ8, PQ or other."""
    learned: bool
    """Whether a rotation is learned for product codes (OPQ)."""


def sized_candidates(text: str, dimension: int, rows: int) -> list[IndexSpec]:
    """`art2real.index.factory.candidates`, for any number of rows at no cost.

    Raises:
        UsageError: FAISS has no such index type.
    """
    if text != "auto":
        lists = _LISTS.search(text)
        count = None if lists is None else int(lists[1])
        few = text if (count or 0) <= _MOST_LISTS_MADE else _LISTS.sub(f"IVF{_MOST_LISTS_MADE}", text)
        try:
            base = [parse(few, dimension)]
        except UsageError as error:
            raise UsageError(str(error).replace(few, text)) from None
    else:
        base = candidates("auto", dimension, min(rows, _SOME_ROWS))
        count = list_count(rows)
    return [_sized(each, count) for each in base]


def _sized(spec: IndexSpec, lists: int | None) -> SizedSpec:
    factory = spec.factory if lists is None else _LISTS.sub(f"IVF{lists}", spec.factory)
    # Fewer lists than 8 are all scanned.
    nprobe = spec.nprobe if lists is None else min(spec.nprobe, lists)
    return SizedSpec(factory, spec.metric, nprobe, spec.rerank)


def lists_of(spec: IndexSpec) -> int:
    """Inverted lists of a type, 0 if it has none."""
    found = _LISTS.search(spec.factory)
    return int(found[1]) if found else 0


def shape(spec: IndexSpec, dimension: int) -> Shape:
    """What the times of an index of this type hang on."""
    index = spec.new(dimension)
    steps = chain(index)
    has_lists = list_count_of(index) > 0
    return Shape(
        lists=lists_of(spec),
        width=int(steps[-1].d_out) if steps else dimension,
        transform=sum(int(each.d_in) * int(each.d_out) for each in steps),
        code=bytes_per_row(index) - (8 if has_lists else 0),
        codec=_codec(spec.factory),
        learned="OPQ" in spec.factory,
    )


def _codec(factory: str) -> str:
    last = factory.split(",")[-1]
    for name in ("SQfp16", "SQ8", "PQ", "Flat"):
        if last.startswith(name):
            return name
    return "other"
