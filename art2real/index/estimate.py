"""How large an index will be, which types fit, and how much memory it takes to build: known beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import faiss

from art2real.core.scale import Scale
from art2real.errors import UserError
from art2real.index.factory import IndexSpec, bytes_per_row, chain, inverted_lists
from art2real.index.learn import ROWS_FOR_CODES, ROWS_PER_BLOCK, training_rows

# A process that has imported torch and FAISS.
_PROCESS = 500_000_000
# Bytes for each value of a patch while it is made a unit row: pixel, vector, centred, a copy without the rows
# left out.
_BYTES_PER_VALUE = 13
# k-means and codes are trained on copies of parts of the sample.
_TRAINING_COPIES = 2
# FAISS's lists grow by doubling.
_GROWTH = 1.5
# FAISS makes no table of products that would be larger than this.
_MOST_TABLE: int = getattr(faiss.cvar, "precomputed_table_max_bytes", 2**31)
# Products of queries and rows in the exact search of the audit, and what selects the best of them.
_EXACT = 200_000_000


@dataclass(frozen=True)
class TaskMemory:
    """Bytes that one process needs for each step of a build; `add` and `audit` for the largest shard."""

    train: int
    add: int
    audit: int

    @property
    def most(self) -> int:
        return max(self.train, self.add, self.audit)


def index_bytes(spec: IndexSpec, dimension: int, rows: int, shards: int = 1) -> int:
    """Bytes of an index's files, to within a few per cent: rows, and in each file what was trained."""
    index = spec.new(dimension)
    return rows * bytes_per_row(index) + _shared(index) * (1 + shards)


def task_memory(spec: IndexSpec, dimension: int, rows: int, largest_shard: int) -> TaskMemory:
    """What building an index over `rows` patches takes, of which its largest shard has `largest_shard`."""
    index = spec.new(dimension)
    block = min(ROWS_PER_BLOCK, rows) * dimension * _BYTES_PER_VALUE
    shared = _shared(index) + products_table(index)
    shard = largest_shard * bytes_per_row(index)
    ivf = inverted_lists(index)
    sample = min(training_rows(0 if ivf is None else ivf.nlist), rows)
    if index.is_trained:
        learning = 0
    elif chain(index):  # only some rows are held at their full width
        width = chain(index)[-1].d_out
        learning = min(ROWS_FOR_CODES, sample) * dimension * _BYTES_PER_VALUE
        learning += sample * width * 4 * _TRAINING_COPIES
    else:
        learning = sample * dimension * (_BYTES_PER_VALUE + 4 * (_TRAINING_COPIES - 1))
    return TaskMemory(
        train=_PROCESS + block + shared + learning,
        add=_PROCESS + block + shared + int(shard * _GROWTH),
        audit=_PROCESS + block + shared + shard + _EXACT,
    )


def choose(
    allowed: Mapping[Scale, Sequence[IndexSpec]], rows: Mapping[Scale, int], memory: int | None
) -> dict[Scale, IndexSpec]:
    """The type of each scale's index: the finest that fit into `memory` together.

    As long as they do not fit, the scale whose index shrinks most by it gets its next coarser type. The
    choice is made before anything is built: an index that then misses the recall asked for is kept, with a
    warning, since a finer one would not have fitted.

    Args:
        allowed: by scale, finest first (`art2real.index.factory.candidates`). rows: by scale.
        memory: bytes; None: no limit.

    Raises:
        UserError: the coarsest are too large.
    """
    left = {scale: list(specs) for scale, specs in allowed.items()}
    sizes = {
        scale: [index_bytes(spec, scale.dimension, rows[scale]) for spec in specs]
        for scale, specs in left.items()
    }
    while memory is not None and (total := sum(each[0] for each in sizes.values())) > memory:
        coarser = [scale for scale, each in sizes.items() if len(each) > 1]
        if not coarser:
            raise UserError(
                f"an index of {in_words(total)} does not fit into the {in_words(max(memory, 0))} that it may "
                "take: give it more --memory, a --factory of shorter codes, or build a bank of fewer patches"
            )
        scale = max(coarser, key=lambda scale: sizes[scale][0] - sizes[scale][1])
        del sizes[scale][0], left[scale][0]
    return {scale: specs[0] for scale, specs in left.items()}


def check_memory(scale: Scale, spec: IndexSpec, need: TaskMemory, node: int, shards: int) -> None:
    """Refuses a build of which one step alone needs more memory than the largest node has.

    Args:
        node: bytes. shards: that were asked for.

    Raises:
        UserError: it does not fit; says what would.
    """
    if need.most <= node:
        return
    if need.train > node:
        what, mend = "training it", "a type of fewer lists, such as --factory PCA64,IVF4096,SQ8"
    else:
        holding = max(need.add, need.audit) - _PROCESS
        parts = shards * max(2, -(-holding // max(node - _PROCESS, 1)))
        what, mend = "its largest shard", f"--shards {parts}, or a --factory of shorter codes"
    raise UserError(
        f"index {spec.factory} at scale {scale}: {what} takes {in_words(need.most)} and does not fit into "
        f"the {in_words(node)} of the largest node; use {mend}"
    )


def in_words(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"


def _shared(index: object) -> int:
    """Bytes of what was trained, which each shard's file has too: the lists' centroids and transforms."""
    ivf = inverted_lists(index)
    centroids = 0 if ivf is None else 4 * ivf.nlist * ivf.d
    # PCA keeps all its directions beside those that it uses.
    return int(centroids + sum(4 * each.d_in * (each.d_in + each.d_out) for each in chain(index)))


def products_table(index: object) -> int:
    """Bytes of the table of products that FAISS makes of a product quantizer wherever it trains or loads one;
    the file has none."""
    lists = inverted_lists(index)
    ivf = None if lists is None else faiss.downcast_index(lists)
    if not isinstance(ivf, faiss.IndexIVFPQ) or ivf.metric_type != faiss.METRIC_L2 or not ivf.by_residual:
        return 0
    table = 4 * ivf.nlist * ivf.pq.M * ivf.pq.ksub
    return int(table if table <= _MOST_TABLE else 0)
