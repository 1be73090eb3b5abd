"""The nodes of index actors: found before anything is started, and kept to as long as they live."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from art2real.config.tree import Cluster
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.distributed.node_wish import Wish
from art2real.distributed.room import NodeRoom, expected_workers, more_nodes_may_come, node_rooms
from art2real.errors import UserError
from art2real.index.manifest import IndexManifest
from art2real.index.placement import Node, fits, gpu_slots, homes, place
from art2real.index.unplaced import Group, Unplaced, groups_of

log = logging.getLogger(__name__)

_NODE = "ray.io/node-id"
# Ray notices only after a moment that something has ended.
_PATIENCE_SECONDS = 3.0
_SECONDS_BETWEEN_LOOKS = 0.25


@dataclass(frozen=True)
class Place:
    """One index actor that is to be started."""

    memory: int
    """Bytes that it claims; 0: none, because no node says how much it has."""
    node: str
    """Where it goes, and is started again as long as this node lives."""
    selector: dict[str, str]
    """Ray's label selector of the nodes that it may be on."""

    @property
    def options(self) -> dict[str, Any]:
        """For Ray."""
        return {
            "memory": self.memory or None,
            # Not a selector of this node with others to fall back to: of an actor that names nodes and finds
            # none, Ray says at once that it is lost for good, even if a node comes later.
            "scheduling_strategy": NodeAffinitySchedulingStrategy(self.node, soft=True),
            "label_selector": self.selector or None,
        }


def find_places(
    bank: MemoryBank,
    manifests: Mapping[Scale, IndexManifest],
    cluster: Cluster,
    *,
    worker_bytes: int | None,
    seconds: float,
) -> list[tuple[Group, tuple[Place, ...]]]:
    """The index actors of all scales, each with the places of its replicas.

    Waits where others hold the room, and where nodes may still come.

    Args:
        worker_bytes: memory of each of the training workers that will run beside; None: there will be none.
        seconds: most to wait.

    Raises:
        UserError: there is no room for them all; says what would do.
    """
    return _Search(bank, manifests, cluster, worker_bytes, seconds).run()


@dataclass
class _Search:
    bank: MemoryBank
    manifests: Mapping[Scale, IndexManifest]
    cluster: Cluster
    worker_bytes: int | None
    seconds: float
    groups: list[Group] = field(init=False)

    def __post_init__(self) -> None:
        self.groups = groups_of(self.manifests, self.cluster)

    def run(self) -> list[tuple[Group, tuple[Place, ...]]]:
        began = time.monotonic()
        wish = Wish(self.groups, self.cluster)
        said = False
        try:
            while True:
                waited = time.monotonic() - began
                rooms = node_rooms()
                may_grow = more_nodes_may_come(rooms) and waited < self.seconds
                found = self._find(rooms, free=True)
                together = found is not None and any(len(set(nodes)) < len(nodes) for _, nodes in found)
                if found is not None and not (together and may_grow):
                    return self._places(found, rooms)
                problem = None if found or self._find(rooms, free=False) else self._problem(rooms)
                if problem is not None and not more_nodes_may_come(rooms):
                    raise UserError(problem)
                if waited >= self.seconds:
                    raise UserError(
                        f"the index actors did not start within {self.seconds:g} seconds: "
                        + (problem or f"{self._held(rooms)}; wait for it to end, or give the cluster more")
                    )
                if waited >= _PATIENCE_SECONDS and not said:
                    said = True
                    why = problem or ("the replicas wait for nodes" if together else self._held(rooms))
                    log.warning("index actors wait up to %.0f s for room: %s", self.seconds, why)
                if may_grow:
                    wish.make()
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            wish.withdraw()

    def _find(self, rooms: Sequence[NodeRoom], *, free: bool) -> list[tuple[Group, tuple[str, ...]]] | None:
        """By actor, the nodes of its replicas: where room is left for the training workers, else anywhere."""
        needs = [group.need for group in self.groups]
        for for_workers in (True, False):
            nodes = self._nodes(self.cluster, rooms, free=free, for_workers=for_workers)
            placed = place(needs, nodes, self.cluster.index_replicas)
            if placed is not None:
                names = [tuple(nodes[at].name for at in replicas) for replicas in placed]
                return list(zip(self.groups, names, strict=True))
        return None

    def _nodes(
        self, cluster: Cluster, rooms: Sequence[NodeRoom], *, free: bool, for_workers: bool
    ) -> list[Node]:
        """The room of each node that index actors may be on.

        Args:
            free: what is free now, else all that the node has. for_workers: leave them CPUs and memory; GPUs
                are left in any case, because without them no training would begin.
        """
        workers: Mapping[str, int] = {}
        if self.worker_bytes is not None:
            workers = expected_workers(cluster, rooms)
        allowed = [room for room in rooms if room.has_label(cluster.index_label)]
        known = any("memory" in room.total for room in allowed)
        nodes = []
        for room in allowed:
            here = workers.get(room.id, 0)
            has = room.free if free else room.total
            cpus, memory, share = has.get("CPU", 0.0), has.get("memory", 0.0), cluster.index_gpus
            if for_workers:
                cpus -= here * (cluster.cpus_per_worker or 1)
                memory -= here * (self.worker_bytes or 0)
            nodes.append(
                Node(
                    room.id,
                    memory if known else float("inf"),
                    cpus,
                    gpu_slots(max(has.get("GPU", 0.0) - here, 0.0), share) if share else 0,
                    room.gpu_memory * share if share else float("inf"),
                    here > 0,
                )
            )
        return nodes

    def _problem(self, rooms: Sequence[NodeRoom]) -> str:
        """Why not even empty nodes would do, and what to do."""
        cluster, label = self.cluster, self.cluster.index_label
        nodes = self._nodes(cluster, rooms, free=False, for_workers=False)
        where = f" with the label {label}" if label else ""
        if not nodes:
            return (
                f"no node has the label {label}, which index actors need; give it to nodes, or look at "
                "cluster.index_label"
            )
        if cluster.index_gpus and not any(node.slots for node in nodes):
            claim = f"index actors claim {cluster.index_gpus:g} of a GPU each (cluster.index_gpus)"
            if any(room.total.get("GPU", 0) for room in rooms if room.has_label(label)):
                return (
                    f"{claim}, but the training workers take all GPUs{where} whole; set it to 0, or "
                    "cluster.workers lower"
                )
            return f"{claim}, but no node{where} has a GPU; set it to 0, or start nodes with GPUs"
        return Unplaced(
            self.bank,
            self.manifests,
            cluster,
            lambda other: self._nodes(other, rooms, free=False, for_workers=False),
        ).explain()

    def _held(self, rooms: Sequence[NodeRoom]) -> str:
        parts = []
        for name, unit in (("CPU", 1.0), ("memory", 1e9), ("GPU", 1.0)):
            here = [room for room in rooms if room.has_label(self.cluster.index_label)]
            total = sum(room.total.get(name, 0.0) for room in here) / unit
            free = sum(room.free.get(name, 0.0) for room in here) / unit
            if total:
                what = {"CPU": "CPUs", "memory": "GB of memory", "GPU": "GPUs"}[name]
                parts.append(f"{total - free:.3g} of {total:.3g} {what}")
        count = len(self.groups) * self.cluster.index_replicas
        return f"other work holds {', '.join(parts)}, which leaves no room for {count} of them"

    def _places(
        self, found: Sequence[tuple[Group, tuple[str, ...]]], rooms: Sequence[NodeRoom]
    ) -> list[tuple[Group, tuple[Place, ...]]]:
        nodes = self._nodes(self.cluster, rooms, free=False, for_workers=False)
        number = {node.name: at for at, node in enumerate(nodes)}
        result = []
        for turn, (group, names) in enumerate(found):
            large = [at for at, node in enumerate(nodes) if fits(group.need, node)]
            sets = homes([number[name] for name in names], large, turn)
            ids = [[nodes[at].name for at in each] for each in sets]
            known = all(node.memory != float("inf") for node in nodes)
            result.append((group, tuple(self._place(group, ids, mine, known) for mine in range(len(names)))))
        return result

    def _place(self, group: Group, homes: Sequence[Sequence[str]], mine: int, known: bool) -> Place:
        own = homes[mine]
        others = sorted({node for at, each in enumerate(homes) if at != mine for node in each})
        apart = {_NODE: f"!in({','.join(others)})"} if others and not set(own) & set(others) else {}
        return Place(group.need.memory if known else 0, own[0], {**apart, **self._label})

    @property
    def _label(self) -> dict[str, str]:
        key, _, value = (self.cluster.index_label or "").partition("=")
        return {key: value} if key else {}
