"""What is said where index actors have no room; what it tells to do is done, and then there is room."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from art2real.config.tree import Cluster
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.index.build import discard
from art2real.index.held import held
from art2real.index.manifest import check_index
from art2real.index.order import order
from art2real.index.placement import Node, gpu_slots, place
from art2real.index.unplaced import Unplaced, groups_of
from tests.index.banks import NARROW, WIDE, index_bank, make_bank, request


@pytest.fixture
def bank(tmp_path: Path) -> MemoryBank:
    """Eight bank shards, 16 photos of 48 pixels; no index."""
    return make_bank(tmp_path, photos=16, per_shard=2)


def explain(
    bank: MemoryBank, scales: Sequence[Scale], cluster: Cluster, *nodes: Node, gpus: float = 0
) -> str:
    """`gpus`: of each node; each has 1 GB."""

    def rooms(other: Cluster) -> list[Node]:
        share = other.index_gpus
        return [
            Node(
                node.name,
                node.memory,
                node.cpus,
                gpu_slots(gpus, share) if share else 0,
                share * 1e9 if share else float("inf"),
            )
            for node in nodes
        ]

    manifests = {scale: check_index(bank, scale) for scale in scales}
    needs = [group.need for group in groups_of(manifests, cluster)]
    assert place(needs, rooms(cluster), cluster.index_replicas) is None
    text = Unplaced(bank, manifests, cluster, rooms).explain()
    assert "\n" not in text
    return text


def room_for(bank: MemoryBank, scale: Scale, share: float) -> Node:
    """A node with so much more than an actor without shards takes, in parts of the largest shard's file."""
    manifest = check_index(bank, scale)
    whole, bare = held(manifest, scale, [0]).memory, held(manifest, scale, []).memory
    return Node("node", bare + int((whole - bare) * share), 8)


def test_the_number_of_shards_that_is_named_is_the_least_that_fits(bank: MemoryBank) -> None:
    index_bank(bank, WIDE, request("Flat"))
    nodes = [room_for(bank, WIDE, 0.4)] * 4
    text = explain(bank, [WIDE], Cluster(), *nodes)
    assert re.match(
        r"index shard 1 of scale 8:4 takes [\d.]+ MB and fits no node \(largest: [\d.]+ MB\); ", text
    )
    [command] = re.findall(r"`(build-index .*?)`", text)
    words = shlex.split(command)
    assert words[1:3] == [str(bank.path), "--overwrite"]
    assert words[words.index("--factory") + 1] == "Flat"
    wanted = int(words[words.index("--shards") + 1])
    for shards in range(2, wanted + 1):
        discard(bank, WIDE)
        index_bank(bank, WIDE, request("Flat", shards=shards))
        needs = [group.need for group in groups_of({WIDE: check_index(bank, WIDE)}, Cluster())]
        assert (place(needs, nodes) is not None) == (shards == wanted)


def test_coarser_codes_are_named_with_their_size(tmp_path: Path) -> None:
    bank = make_bank(tmp_path, photos=100, per_shard=100)  # one shard: there can be no more of them
    index_bank(bank, WIDE, request("Flat"))
    node = room_for(bank, WIDE, 0.15)
    text = explain(bank, [WIDE], Cluster(), node)
    assert "--shards" not in text
    [(size, types)] = re.findall(r"--overwrite --memory ([\d.]+)MB` \((.*?)\)", text)
    assert re.fullmatch(r"\S+,IVF\d+,\S+ at 8:4: [\d.]+ MB a shard", types)
    # What auto chooses for that memory has room on the node.
    chosen = order(bank, node=16 * 10**9, overwrite=True, memory=int(float(size) * 1e6))
    [spec] = [each.spec for each in chosen.missing if each.scale == WIDE]
    assert spec.factory in types
    discard(bank, WIDE)
    index_bank(bank, WIDE, request(spec.factory))
    assert held(check_index(bank, WIDE), WIDE, [0]).memory <= node.memory


def test_fewer_replicas_or_more_nodes(bank: MemoryBank) -> None:
    index_bank(bank, WIDE, request("Flat"))
    index_bank(bank, NARROW, request("Flat"))
    node = room_for(bank, WIDE, 1)
    text = explain(bank, [WIDE, NARROW], Cluster(index_replicas=2), node, node)
    assert re.match(
        r"4 index actors of 2 CPUs and 1\.\d GB do not fit together into the room of 2 nodes \(16 CPUs, ",
        text,
    )
    assert "set cluster.index_replicas to 1, or " in text
    assert text.endswith("add 2 nodes like the largest")


def test_one_actor_need_not_hold_all_shards(bank: MemoryBank) -> None:
    index_bank(bank, WIDE, request("Flat", shards=4))
    nodes = [room_for(bank, WIDE, 1)] * 4
    text = explain(bank, [WIDE], Cluster(index_actors=1), *nodes)
    assert text.startswith("index shards 1 to 4 in one actor of scale 8:4 takes ")
    assert "leave cluster.index_actors out" in text


def test_shares_of_gpus(bank: MemoryBank) -> None:
    index_bank(bank, WIDE, request("IVF4,SQ8", shards=4))
    node = Node("node", 10e9, 8)
    text = explain(bank, [WIDE], Cluster(index_gpus=0.5), node, gpus=1)
    assert "(8 CPUs, 10.0 GB of memory, 2 places on GPUs)" not in text
    # A half of 1 GB is less than what FAISS and CUDA take themselves.
    assert re.match(r"index shard \d of scale 8:4 takes 0\.8 GB of GPU memory, .*\(0\.5\).* is 0\.5 GB", text)
    assert "set cluster.index_gpus to 0" in text  # with a whole GPU each there would be too few
    text = explain(bank, [WIDE], Cluster(index_gpus=1), node, gpus=3)
    assert "4 index actors" in text
    assert "3 places on GPUs" in text
    assert "set cluster.index_gpus to 0, or " in text  # with half a GPU each, none would have the memory
    assert "add 1 node like the largest" in text
