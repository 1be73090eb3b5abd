"""Kills nodes that hold index shards in mid-query; prints what came of it as one line of JSON.

python node_death.py BANK: its index at scale 4:4 is one shard.
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

import numpy as np
from ray.cluster_utils import Cluster as Nodes

from art2real.config.tree import Cluster
from art2real.data.bank import MemoryBank
from art2real.distributed.index_actors import open_actor_retriever, start_index_actors
from art2real.errors import UserError
from art2real.index.queries import make_queries
from tests.distributed.nodes import cluster_of_nodes, node_of
from tests.index.banks import NARROW


def main(bank: MemoryBank) -> dict[str, Any]:
    with cluster_of_nodes() as nodes:
        return kill_nodes(nodes, bank)


def kill_nodes(nodes: Nodes, bank: MemoryBank) -> dict[str, Any]:
    workers = [nodes.add_node(num_cpus=1, object_store_memory=200 * 2**20) for _ in range(2)]
    nodes.wait_for_nodes()
    report: dict[str, Any] = {}

    def kill_node_of(handle: Any) -> None:
        gone = node_of(handle)
        [node] = [each for each in workers if each.node_id == gone]
        workers.remove(node)
        nodes.remove_node(node, allow_graceful=False)

    queries = np.tile(make_queries(bank, NARROW, 1000, seed=3), (50, 1))

    def answer_while_node_dies(settings: Cluster, which: int) -> tuple[str, float, Any]:
        actors = start_index_actors(bank.path, [NARROW], settings)
        retriever = open_actor_retriever(bank, NARROW, actors)
        report["patches_come_from_owners"] = actors.own_patches
        expected = retriever.search(queries, 1)
        if settings.index_replicas > 1:
            report["replicas_were_apart"] = len({node_of(handle) for handle in actors.handles}) > 1
        was = node_of(actors.handles[which])
        found: list[Any] = []
        ended: list[float] = []

        def ask() -> None:
            for _ in range(2):  # by turns, so that one of them meets the node that dies
                found.append(retriever.search(queries, 1))
            ended.append(time.monotonic())

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.1)
        began = time.monotonic()
        kill_node_of(actors.handles[which])
        report["in_flight"] = asking.is_alive()
        asking.join(60)
        same = len(found) == 2 and all(
            np.array_equal(mine, theirs)
            for answer in found
            for mine, theirs in zip(expected, answer, strict=True)
        )
        if settings.index_replicas == 1:
            report["moved"] = node_of(actors.handles[which]) != was
        return "the same" if same else "another", ended[0] - began, (actors, retriever)

    answers, seconds, (actors, _) = answer_while_node_dies(Cluster(index_replicas=2), 1)
    report.update(answers_with_two=answers, seconds_with_two=seconds)
    actors.stop()
    workers.append(nodes.add_node(num_cpus=1, object_store_memory=200 * 2**20))
    nodes.wait_for_nodes()
    settings = Cluster(query_timeout=20)
    answers, seconds, (actors, retriever) = answer_while_node_dies(settings, 0)
    report.update(answers_with_one_replica=answers, seconds_with_one_replica=seconds)
    actors.stop()
    actors = start_index_actors(bank.path, [NARROW], Cluster(query_timeout=3))
    retriever = open_actor_retriever(bank, NARROW, actors)
    kill_node_of(actors.handles[0])  # the last one: there is no room for it any more
    try:
        retriever.search(queries[:5], 1)
    except UserError as error:
        report["no_room"] = str(error)
    return report


if __name__ == "__main__":
    print(json.dumps(main(MemoryBank.open(sys.argv[1]))))
