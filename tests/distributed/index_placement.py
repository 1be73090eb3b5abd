"""Places index actors on simulated nodes; prints what came of it as one line of JSON.

python index_placement.py BANK: its index at scale 8:4 is two shards, that at 4:4 one.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

os.environ["RAY_AUTH_MODE"] = "disabled"
sys.path.insert(0, str(Path(__file__).parents[2]))

import ray
from ray.cluster_utils import Cluster as Nodes

from art2real.config.tree import Cluster
from art2real.data.bank import MemoryBank
from art2real.distributed import index_actors
from art2real.distributed.index_actors import IndexActors, start_index_actors
from art2real.distributed.placement import Place, find_places
from art2real.errors import UserError
from art2real.index.manifest import check_index
from tests.distributed.nodes import cluster_of_nodes, node_of
from tests.index.banks import NARROW, WIDE

STORE = 100 * 2**20
GB = 10**9


def main(bank: MemoryBank) -> dict[str, Any]:
    # As KubeRay and `ray up` start a head: more nodes may come.
    with cluster_of_nodes(group="head") as nodes:
        late = start_while_a_node_comes(nodes, bank)
    with cluster_of_nodes() as nodes:
        return {**late, **place_on_nodes(nodes, bank)}


def start_while_a_node_comes(nodes: Nodes, bank: MemoryBank) -> dict[str, Any]:
    started: list[IndexActors] = []
    starting = threading.Thread(
        target=lambda: started.append(
            start_index_actors(bank.path, [NARROW], Cluster(index_label="role=late"))
        )
    )
    starting.start()
    time.sleep(2)
    wished = [each["bundles"][0] for each in ray.util.placement_group_table().values()]
    node = nodes.add_node(num_cpus=2, memory=GB, object_store_memory=STORE, labels={"role": "late"})
    starting.join(60)
    report = {
        "wished_memory": wished[0]["memory"],
        "wished_cpus": wished[0]["CPU"],
        "on_the_node_that_came": node_of(started[0].handles[0]) == node.node_id,
        "wishes_left": sum(each["state"] != "REMOVED" for each in ray.util.placement_group_table().values()),
    }
    started[0].stop()
    return report


def place_on_nodes(nodes: Nodes, bank: MemoryBank) -> dict[str, Any]:
    def add(**given: Any) -> Any:
        return nodes.add_node(object_store_memory=STORE, **given)

    fast = [add(num_cpus=4, num_gpus=1, memory=2 * GB, labels={"role": "index"}) for _ in range(2)]
    plain = [add(num_cpus=4, memory=2 * GB, labels={"role": "index", "plain": "yes"}) for _ in range(2)]
    add(num_cpus=4, memory=GB // 5, labels={"role": "small"})
    nodes.wait_for_nodes()
    names = {node.node_id: f"fast-{at}" for at, node in enumerate(fast)}
    names.update({node.node_id: f"plain-{at}" for at, node in enumerate(plain)})
    report: dict[str, Any] = {}

    def where(actors: IndexActors) -> list[list[str]]:
        """By shard of the wide scale, the nodes of its replicas."""
        return [[names[node_of(handle)] for handle in each] for each in actors.scales[WIDE.name].replicas]

    def refused(**settings: Any) -> tuple[str, float]:
        began = time.monotonic()
        try:
            start_index_actors(bank.path, [WIDE, NARROW], Cluster(**settings)).stop()
        except UserError as error:
            return str(error), time.monotonic() - began
        return "", 0.0

    # Replicas apart, and everywhere the same number.
    actors = start_index_actors(bank.path, [WIDE], Cluster(index_label="role=index", index_replicas=2))
    report["spread"] = where(actors)
    claimed = [room["memory"] for room in ray._private.state.available_resources_per_node().values()]
    report["claims_memory"] = sum(memory < 2 * GB - 200_000_000 for memory in claimed) >= 4
    # The first replica's node dies: it moves, and not to the other's.
    [gone] = [node for node in fast + plain if names[node.node_id] == report["spread"][0][0]]
    nodes.remove_node(gone, allow_graceful=False)
    until = time.monotonic() + 60
    while not all_answer(actors) and time.monotonic() < until:
        time.sleep(0.2)
    report["moved"] = where(actors)
    actors.stop()
    (fast if gone in fast else plain).remove(gone)
    again = (
        add(num_cpus=4, num_gpus=1, memory=2 * GB, labels={"role": "index"})
        if len(fast) < 2
        else add(num_cpus=4, memory=2 * GB, labels={"role": "index", "plain": "yes"})
    )
    (fast if len(fast) < 2 else plain).append(again)
    names[again.node_id] = names[gone.node_id]
    nodes.wait_for_nodes()

    # Beside the training workers, which take both GPUs.
    training = Cluster(index_label="role=index", workers=2, use_gpu=True)
    actors = start_index_actors(bank.path, [WIDE], training, 100_000_000)
    report["beside"] = where(actors)
    actors.stop()
    # Not beside them where that would take what they need.
    actors = start_index_actors(bank.path, [WIDE], training, 1_900_000_000)
    report["leaves_room"] = where(actors)
    actors.stop()

    report["too_small"] = refused(index_label="role=small")
    report["no_gpu"] = refused(index_label="plain=yes", index_gpus=0.25)
    report["gpus_too_few"] = refused(index_gpus=0.75)
    report["gpus_of_workers"] = gpus_of_workers(bank)
    report["gpu_ids"] = share_gpus(bank, names)
    report.update(while_others_hold_the_room(bank))
    return report


def all_answer(actors: IndexActors) -> bool:
    """Whether no actor is on its way to another node; it is only noticed after a while that one has to be."""
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    try:
        return {node_of(handle) for handle in actors.handles} <= alive and len(alive) == 5
    except ray.exceptions.RayActorError:
        return False


def gpus_of_workers(bank: MemoryBank) -> str:
    try:
        start_index_actors(bank.path, [WIDE], Cluster(index_gpus=0.5, workers=2), 1000)
    except UserError as error:
        return str(error)
    return ""


def share_gpus(bank: MemoryBank, names: dict[str, str]) -> list[tuple[str, list[int]]]:
    """Which GPU Ray gives to actors with the claims and places of index actors."""

    @ray.remote
    class Claim:
        def where(self) -> tuple[str, list[int]]:
            return ray.get_runtime_context().get_node_id(), list(map(int, ray.get_gpu_ids()))

    cluster = Cluster(index_gpus=0.25, index_replicas=2)
    manifests = {scale: check_index(bank, scale) for scale in (WIDE, NARROW)}
    found = find_places(bank, manifests, cluster, worker_bytes=None, seconds=10)
    places: list[Place] = [place for _, each in found for place in each]
    claims = [
        Claim.options(num_gpus=0.25, num_cpus=0.5, **place.options).remote()  # type: ignore[attr-defined]
        for place in places
    ]
    on = ray.get([claim.where.remote() for claim in claims], timeout=60)
    for claim in claims:
        ray.kill(claim)
    return sorted((names[node], gpus) for node, gpus in on)


def while_others_hold_the_room(bank: MemoryBank) -> dict[str, Any]:
    @ray.remote(num_cpus=4, label_selector={"plain": "yes"})
    class Other:
        def ping(self) -> None:
            pass

    others = [Other.remote() for _ in range(2)]
    ray.get([other.ping.remote() for other in others], timeout=60)
    settings = Cluster(index_label="plain=yes")
    index_actors._START_SECONDS = 3.0
    report: dict[str, Any] = {}
    try:
        start_index_actors(bank.path, [WIDE], settings)
    except UserError as error:
        report["held"] = str(error)
    index_actors._START_SECONDS = 60.0
    threading.Timer(2, lambda: ray.kill(others[0])).start()
    start_index_actors(bank.path, [WIDE], settings).stop()
    report["waited_for_room"] = True
    return report


if __name__ == "__main__":
    print(json.dumps(main(MemoryBank.open(sys.argv[1]))))
