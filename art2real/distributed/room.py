"""How many workers a cluster has room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray

from art2real.config.tree import Cluster


@dataclass(frozen=True)
class Room:
    """How many workers there are room for, and what each claims."""

    workers: int
    cpus: int
    gpus: int
    memory: int
    """Bytes; 0: none is claimed."""


def alive_nodes() -> list[dict[str, float]]:
    """The resources of each node that is there now."""
    nodes: list[dict[str, Any]] = ray.nodes()
    return [node["Resources"] for node in nodes if node["Alive"]]


def workers_on_cpus(most: int, memory: int) -> tuple[int, int]:
    """Workers of one CPU and `memory` bytes each, `most` at most, and the bytes that each claims.

    Where no node has the memory even for one, it has to try: one that claims none.
    """
    fitting = sum(int(min(node.get("CPU", 0), node.get("memory", 0) // memory)) for node in alive_nodes())
    return (min(most, fitting), memory) if fitting else (1, 0)


def workers_on_gpus_or_cpus(most: int, memory: int) -> Room:
    """Room for at most so many workers on the nodes that are there now.

    One a GPU, with the CPUs that prepare its work, if there is any; else one a CPU, of `memory` bytes each.
    """
    with_gpus = [node for node in alive_nodes() if node.get("GPU", 0) >= 1]
    if with_gpus:
        workers = sum(int(node["GPU"]) for node in with_gpus)
        cpus = min(int(node.get("CPU", 0) // int(node["GPU"])) for node in with_gpus)
        return Room(min(most, workers), max(1, cpus), 1, 0)
    workers, claimed = workers_on_cpus(most, memory)
    return Room(workers, 1, 0, claimed)


@dataclass(frozen=True)
class NodeRoom:
    """A node that is there now."""

    id: str
    labels: dict[str, str]
    total: dict[str, float]
    """Resources; memory in bytes."""
    free: dict[str, float]
    """Those that nobody has claimed. What Ray says lags behind by up to a second."""

    @property
    def gpu_memory(self) -> float:
        """Bytes of each of its GPUs; infinite where their type is not known."""
        kinds = [name.partition(":")[2] for name in self.total if name.startswith("accelerator_type:")]
        kinds.append(self.labels.get("ray.io/accelerator-type", ""))
        return min((_GPU_BYTES[kind] for kind in kinds if kind in _GPU_BYTES), default=float("inf"))

    def has_label(self, label: str | None) -> bool:
        """`label`: KEY=VALUE; None: any node has it."""
        key, _, value = (label or "").partition("=")
        return label is None or self.labels.get(key) == value


# By Ray's names; of those that are sold in several sizes, the least.
_GPU_BYTES = {
    kind: gigabytes * 1e9
    for kind, gigabytes in {
        "K80": 12,
        "P4": 8,
        "P100": 12,
        "V100": 16,
        "T4": 16,
        "A10G": 24,
        "L4": 24,
        "L40S": 48,
        "A100": 40,
        "A100-40G": 40,
        "A100-80G": 80,
        "H100": 80,
        "H200": 141,
        "H20": 96,
        "B200": 180,
    }.items()
}


def node_rooms() -> list[NodeRoom]:
    """All nodes that are there now."""
    free = ray._private.state.available_resources_per_node()
    nodes: list[dict[str, Any]] = ray.nodes()
    return [
        NodeRoom(node["NodeID"], node["Labels"], node["Resources"], free.get(node["NodeID"], {}))
        for node in nodes
        if node["Alive"]
    ]


def more_nodes_may_come(nodes: Sequence[NodeRoom]) -> bool:
    """Whether something brings nodes when work waits for them: KubeRay's autoscaler, or that of `ray up`.

    Both start the head with the name of its group, which no other head has.
    """
    return any(
        "node:__internal_head__" in node.total and "ray.io/node-group" in node.labels for node in nodes
    )


def workers_use_gpus(cluster: Cluster, gpus: float) -> bool:
    """Whether each training worker takes a GPU, of a cluster that has so many."""
    if cluster.use_gpu is not None:
        return cluster.use_gpu
    return gpus >= (cluster.min_workers or cluster.workers)


def expected_workers(cluster: Cluster, nodes: Sequence[NodeRoom]) -> dict[str, int]:
    """By node, the training workers that will be there: known, more or less, where they use GPUs only."""
    gpus = {node.id: int(node.total.get("GPU", 0)) for node in nodes}
    found = dict.fromkeys(gpus, 0)
    if not workers_use_gpus(cluster, sum(gpus.values())):
        return found
    for _ in range(min(cluster.workers, sum(gpus.values()))):
        # One after the other to the node with most GPUs left, so that all nodes get some.
        most = max(gpus, key=lambda node: gpus[node] - found[node])
        found[most] += 1
    return found
