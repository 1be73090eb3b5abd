"""Index actors on a simulated cluster: where they are, and what is said when there is no room for them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.index.banks import NARROW, WIDE, index_bank, make_bank, request

pytestmark = pytest.mark.slow

AT_ONCE = 10.0  # seconds; it used to be 600


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """In a process of its own, with clusters of its own, because this one may be part of one."""
    bank = make_bank(tmp_path_factory.mktemp("bank"))
    index_bank(bank, WIDE, request("PCA64,IVF8,SQfp16", shards=2))
    index_bank(bank, NARROW, request("Flat", shards=1))
    script = Path(__file__).with_name("index_placement.py")
    done = subprocess.run(
        [sys.executable, str(script), str(bank.path)],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_replicas_are_apart_and_all_nodes_hold_the_same(report: dict[str, Any]) -> None:
    assert all(len(set(nodes)) == 2 for nodes in report["spread"])
    assert set(Counter(node for nodes in report["spread"] for node in nodes).values()) == {1}
    assert report["claims_memory"]


def test_a_replica_whose_node_dies_does_not_move_to_that_of_another(report: dict[str, Any]) -> None:
    gone = report["spread"][0][0]
    assert all(len(set(nodes)) == 2 and gone not in nodes for nodes in report["moved"])
    assert report["moved"][0][1] == report["spread"][0][1]


def test_actors_are_beside_training_workers_where_these_keep_their_memory(report: dict[str, Any]) -> None:
    assert sorted(node for [node] in report["beside"]) == ["fast-0", "fast-1"]
    assert sorted(node for [node] in report["leaves_room"]) == ["plain-0", "plain-1"]


def test_a_shard_that_fits_no_node_is_refused_before_it_is_loaded(report: dict[str, Any]) -> None:
    message, seconds = report["too_small"]
    assert message.startswith("index shard 1 of scale ")
    assert "takes 0.3 GB and fits no node (largest: 0.2 GB); " in message
    assert seconds < AT_ONCE


def test_claims_of_gpus_are_checked_at_once(report: dict[str, Any]) -> None:
    message, seconds = report["no_gpu"]
    assert "but no node with the label plain=yes has a GPU; set it to 0" in message
    assert seconds < AT_ONCE
    message, seconds = report["gpus_too_few"]
    assert message.startswith("3 index actors ")
    assert "2 places on GPUs" in message
    assert "set cluster.index_gpus to 0.5" in message
    assert seconds < AT_ONCE
    assert "the training workers take all GPUs whole" in report["gpus_of_workers"]


def test_actors_with_a_share_of_a_gpu_are_on_one_gpu_together(report: dict[str, Any]) -> None:
    assert report["gpu_ids"] == [["fast-0", [0]]] * 3 + [["fast-1", [0]]] * 3


def test_room_that_others_hold_is_waited_for(report: dict[str, Any]) -> None:
    assert report["held"].startswith(
        "the index actors did not start within 3 seconds: other work holds 8 of 8 CPUs"
    )
    assert report["waited_for_room"]


def test_nodes_that_an_autoscaler_may_bring_are_waited_for(report: dict[str, Any]) -> None:
    assert report["on_the_node_that_came"]
    assert report["wished_cpus"] == 0.5
    assert 2e8 < report["wished_memory"] < 4e8
    assert report["wishes_left"] == 0
