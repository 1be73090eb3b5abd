"""A cluster of several nodes on this machine that are killed and slowed down at will."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
from ray.cluster_utils import Cluster as Nodes

from tests.distributed.nodes import cluster_of_nodes

_OBJECT_STORE = 100 * 2**20
_SECONDS = 120.0
"""For whatever is waited for."""
_LOOK = 0.01
"""Seconds between two looks."""


class FaultyCluster:
    """A head without CPUs, where the driver is, and worker nodes; this process is connected to it."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes

    def add(self, cpus: float = 1, **more: Any) -> Any:
        """A new worker node, there when this returns. From the main thread only."""
        node = self.nodes.add_node(num_cpus=cpus, object_store_memory=_OBJECT_STORE, **more)
        self.nodes.wait_for_nodes()
        return node

    @property
    def workers(self) -> list[Any]:
        """The worker nodes that were not killed."""
        return list(self.nodes.worker_nodes)

    def kill(self, node: Any) -> None:
        """As a power failure would: all processes of the node at once, none of them can say anything."""
        doomed = processes_of(node)
        for process in doomed:
            with suppress(psutil.Error):
                process.suspend()  # so that no worker outlives its node by a moment
        for process in doomed:
            with suppress(psutil.Error):
                process.kill()
        self.nodes.remove_node(node, allow_graceful=False)

    def node_at_work(self, title: str) -> Any:
        """Waits until a worker node has a process with such a title, `ray::NAME` of a task or an actor."""

        return wait_for(lambda: next(iter(self.nodes_with(title)), None))

    def nodes_with(self, title: str) -> list[Any]:
        """The worker nodes that have a process with such a title now."""
        return [node for node in self.workers if _has(node, title)]


@contextmanager
def faulty_cluster(*cpus: float) -> Iterator[FaultyCluster]:
    """A cluster with a worker node for each number of CPUs."""
    with cluster_of_nodes() as nodes:
        cluster = FaultyCluster(nodes)
        for each in cpus:
            cluster.add(each)
        yield cluster


@contextmanager
def one_node(cpus: float, **more: Any) -> Iterator[Nodes]:
    """A cluster of a head alone, which does the work too; this process is not connected to it."""
    nodes = Nodes(
        initialize_head=True,
        head_node_args={
            "num_cpus": cpus,
            "object_store_memory": _OBJECT_STORE,
            "include_dashboard": False,
            **more,
        },
    )
    try:
        yield nodes
    finally:
        nodes.shutdown()


def processes_of(node: Any) -> list[psutil.Process]:
    """All processes of a node: its raylet and agents, and the workers, which are the raylet's children."""
    found: dict[int, psutil.Process] = {}
    for kind in node.all_processes.values():
        for each in kind:
            with suppress(psutil.Error):
                process = psutil.Process(each.process.pid)
                for one in (process, *process.children(recursive=True)):
                    found[one.pid] = one
    return list(found.values())


def wait_for(look: Callable[[], Any]) -> Any:
    """What `look` returns, as soon as that is not None."""
    deadline = time.monotonic() + _SECONDS
    while True:
        seen = look()
        if seen is not None:
            return seen
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for has not happened")
        time.sleep(_LOOK)


@contextmanager
def slowed(node: Any, share: float, period: float = 0.5) -> Iterator[None]:
    """All processes of a node are stopped for a share of the time, those that it starts meanwhile too."""
    over = threading.Event()

    def hold() -> None:
        while not over.is_set():
            with _stopped(node):
                over.wait(period * share)
            over.wait(period * (1 - share))

    holding = threading.Thread(target=hold)
    holding.start()
    try:
        yield
    finally:
        over.set()
        holding.join()


@contextmanager
def _stopped(node: Any) -> Iterator[None]:
    stopped = processes_of(node)
    for process in stopped:
        with suppress(psutil.Error):
            process.suspend()
    try:
        yield
    finally:
        for process in stopped:
            with suppress(psutil.Error):
                process.resume()


def _has(node: Any, title: str) -> bool:
    for process in processes_of(node):
        with suppress(psutil.Error):
            if any(title in word for word in process.cmdline()):
                return True
    return False
