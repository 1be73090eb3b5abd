"""Index types, their bytes and the memory they need, for each scale of a workload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from art2real.core.scale import Scale
from art2real.errors import UserError
from art2real.index.estimate import TaskMemory, choose, in_words, index_bytes, task_memory
from art2real.index.factory import IndexSpec
from art2real.index.sized import Shape, shape, sized_candidates
from art2real.plan.bank_size import bank_size
from art2real.plan.workload import Workload

# A process that holds shards, before it holds them.
_PROCESS = 500_000_000
_MOST_SHARDS = 1 << 20
_CODE_WORDS = 256


@dataclass(frozen=True)
class ScaleIndex:
    """The index of one scale."""

    scale: Scale
    rows: int
    candidates: Mapping[str, int]
    """Bytes by factory, finest first, with the shards of `shards`."""
    spec: IndexSpec
    shape: Shape
    shards: int
    bytes: int
    shard_bytes: int
    """Of the largest shard."""
    memory: TaskMemory
    """Of building it."""
    directions: int
    """Bytes of the cells' directions, which every training worker holds."""


@dataclass(frozen=True)
class Verdict:
    """Whether something fits, and what to do where it does not."""

    what: str
    bytes: int
    room: int
    mend: str = ""

    @property
    def fits(self) -> bool:
        return self.bytes <= self.room

    def __str__(self) -> str:
        if self.fits:
            return f"{self.what} of {in_words(self.bytes)} fits node of {in_words(self.room)}"
        return (
            f"{self.what} of {in_words(self.bytes)} does not fit node of {in_words(self.room)}: {self.mend}"
        )


def plan_indexes(work: Workload) -> list[ScaleIndex]:
    """The index of each scale: the finest types that take no more than half of the nodes' memory together,
    or the coarsest where even those take more.

    Raises:
        UsageError: FAISS has no such index type. UserError: it needs more patches than there are.
    """
    rows = {scale: work.patches(scale) for scale in work.scales}
    allowed = {scale: sized_candidates(work.factory, scale.dimension, rows[scale]) for scale in work.scales}
    for scale, specs in allowed.items():
        lists = shape(specs[0], scale.dimension).lists
        if lists > rows[scale]:
            raise UserError(
                f"index {specs[0].factory} needs at least {lists} patches, {work.photos} photos have "
                f"{rows[scale]} at scale {scale}; write fewer lists, or auto"
            )
    try:
        chosen = choose(allowed, rows, work.machines.memory * work.machines.nodes // 2)
    except UserError:
        chosen = {scale: each[-1] for scale, each in allowed.items()}
    shards = work.shards
    if shards is None:
        machines = work.machines
        shards = max(
            fitting_shards(spec, scale.dimension, rows[scale], machines.memory, machines.nodes)
            for scale, spec in chosen.items()
        )
    # An index shard is made of whole shards of the bank.
    shards = min(shards, bank_size(work.photos, work.size, work.scales, work.photos_per_shard).shards)
    return [_index(scale, rows[scale], allowed[scale], chosen[scale], shards) for scale in work.scales]


def _index(scale: Scale, rows: int, allowed: list[IndexSpec], spec: IndexSpec, shards: int) -> ScaleIndex:
    dimension = scale.dimension
    largest = -(-rows // shards)
    found = shape(spec, dimension)
    return ScaleIndex(
        scale=scale,
        rows=rows,
        candidates={each.factory: _bytes(each, dimension, rows, shards) for each in allowed},
        spec=spec,
        shape=found,
        shards=shards,
        bytes=_bytes(spec, dimension, rows, shards),
        shard_bytes=_bytes(spec, dimension, largest, 0),
        memory=task_memory(spec, dimension, rows, largest),
        directions=4 * max(found.lists, 1) * dimension,
    )


def _bytes(spec: IndexSpec, dimension: int, rows: int, shards: int) -> int:
    """`index_bytes`, and what counts where an index is small: each file has the words of product codes, and
    of a rotation (OPQ) only what is used, where PCA keeps all its directions."""
    form = shape(spec, dimension)
    words = 4 * _CODE_WORDS * form.width if form.codec == "PQ" else 0
    unused = 4 * dimension**2 if form.learned else 0
    return index_bytes(spec, dimension, rows, shards) + (words - unused) * (1 + shards)


def fitting_shards(spec: IndexSpec, dimension: int, rows: int, node: int, nodes: int) -> int:
    """The fewest shards, a multiple of the nodes, of which a node can build one; as many as there are nodes
    where no number of them helps."""
    shards = nodes
    while shards <= _MOST_SHARDS:
        need = task_memory(spec, dimension, rows, -(-rows // shards))
        if max(need.add, need.audit) <= node:
            return shards
        shards *= 2
    return nodes


def verdicts(work: Workload, indexes: list[ScaleIndex], worker_bytes: int) -> list[Verdict]:
    """Whether building each index, and holding all of them beside the training, fits a node.

    Args:
        worker_bytes: of a training worker; each node has one, or one a GPU.
    """
    node, nodes = work.machines.memory, work.machines.nodes
    found = []
    for index in indexes:
        scale, dimension = index.scale, index.scale.dimension
        coarser = _coarser(index)
        found.append(
            Verdict(
                f"training {index.spec.factory} at scale {scale}",
                index.memory.train,
                node,
                "use a --factory of fewer lists, such as PCA64,IVF65536,SQ8",
            )
        )
        holding = max(index.memory.add, index.memory.audit)
        fitting = fitting_shards(index.spec, dimension, index.rows, node, nodes)
        need = task_memory(index.spec, dimension, index.rows, -(-index.rows // fitting))
        mend = f"use --shards {fitting}" if max(need.add, need.audit) <= node else "use nodes of more memory"
        found.append(Verdict(f"building a shard at scale {scale}", holding, node, mend + coarser))
    largest = max(indexes, key=lambda index: index.shard_bytes)
    found.append(
        Verdict(
            f"shard at scale {largest.scale}",
            largest.shard_bytes + _PROCESS,
            node,
            f"use --shards {_shards_to_hold(largest, node)}{_coarser(largest)}",
        )
    )
    held = held_bytes(work, indexes)
    training = worker_bytes * max(work.machines.gpus, 1)
    room = max(node - training, 0)
    # With a shard of each scale, and its process, on every node.
    total = sum(index.shard_bytes * index.shards for index in indexes) * work.replicas
    for_shards = room - len(indexes) * work.replicas * _PROCESS
    need_nodes = -(-total // for_shards) if for_shards > 0 else 0
    found.append(Verdict("training workers", training, node, "use nodes of more memory, or fewer lists"))
    found.append(
        Verdict(
            "all that a node holds in training",
            held + training,
            node,
            (f"use --nodes {need_nodes} or more" if need_nodes > nodes else "use more --shards")
            + _coarser(largest)
            if room
            else "use nodes of more memory, or a --factory of fewer lists",
        )
    )
    return found


def held_bytes(work: Workload, indexes: list[ScaleIndex]) -> int:
    """Bytes of the index processes of the fullest node: shards go round the nodes."""
    nodes = work.machines.nodes
    return sum(
        -(-index.shards * work.replicas // nodes) * (index.shard_bytes + _PROCESS) for index in indexes
    )


def _coarser(index: ScaleIndex) -> str:
    names = list(index.candidates)
    at = names.index(index.spec.factory)
    return f" or --factory {names[at + 1]}" if at + 1 < len(names) else " or a --factory of shorter codes"


def _shards_to_hold(index: ScaleIndex, node: int) -> int:
    room = max(node - _PROCESS, 1)
    return max(index.shards + 1, index.shards * -(-index.shard_bytes // room))
