"""How many workers a cluster has room for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray


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
