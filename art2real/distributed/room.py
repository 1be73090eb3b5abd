"""How many workers a cluster has room for."""

from __future__ import annotations

from typing import Any

import ray


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
