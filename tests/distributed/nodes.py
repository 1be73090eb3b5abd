"""A cluster of several nodes on this machine, whose deaths are noticed soon."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.cluster_utils import Cluster as Nodes


@contextmanager
def cluster_of_nodes(group: str | None = None) -> Iterator[Nodes]:
    """A head without CPUs, which this process is connected to meanwhile; nodes are for the caller to add.

    `group`: name that an autoscaler would have given to the head.
    """
    if group is not None:
        os.environ["RAY_NODE_TYPE_NAME"] = group
    nodes = Nodes(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "object_store_memory": 200 * 2**20,
            "include_dashboard": False,
            # A dead node is noticed after 2 seconds instead of 15.
            "_system_config": {"health_check_period_ms": 500, "health_check_failure_threshold": 4},
        },
    )
    os.environ.pop("RAY_NODE_TYPE_NAME", None)
    ray.init(address=nodes.address, log_to_driver=False)
    try:
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()


def node_of(handle: Any) -> str:
    """The node that an actor is on."""
    node: str = ray.get(handle.__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id()))
    return node
