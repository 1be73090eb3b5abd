"""Nodes, heads and files that fail in the middle of a stage, each in a process with a cluster of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.catalogue import FAULTS, ROOT, has_redis, run_apart


def test_a_node_killed_while_a_bank_is_built(tmp_path: Path) -> None:
    came_of_it = run_apart("bank-node", tmp_path)
    assert came_of_it.equal
    assert came_of_it.recovery is not None  # something that was in hand was done by the other node


def test_a_shard_that_one_of_two_replicas_cannot_load_any_more(tmp_path: Path) -> None:
    came_of_it = run_apart("shard-damaged", tmp_path)
    notes = came_of_it.notes
    damaged = r"part-00000.index is damaged: its content is not what was written"
    assert came_of_it.equal
    assert damaged in notes["said_by_replica"]
    [warning] = notes["warnings"]
    assert warning.startswith("scale 8:4: 1 of 2 replicas of an index actor answer for it alone: ")
    assert damaged in warning
    assert damaged in notes["said_at_start"]
    # Where there is no other replica:
    assert damaged in notes["error"]
    assert "shard 1 of 2 is lost" in notes["error"]
    assert "cluster.on_missing_shard" in notes["error"]
    assert (notes["skip"], notes["missing_skip"]) == ("", {"0": 200})


@pytest.mark.slow
def test_a_slow_node_makes_a_build_late_and_nothing_else(tmp_path: Path) -> None:
    came_of_it = run_apart("bank-slow", tmp_path)
    assert came_of_it.equal
    slow, other = came_of_it.notes["pieces_of_slow_and_other"]
    assert 0 < slow < other
    assert slow + other == 12


@pytest.mark.slow
def test_a_node_killed_in_each_step_of_an_index(tmp_path: Path) -> None:
    came_of_it = run_apart("index-nodes", tmp_path)
    assert came_of_it.equal
    assert set(came_of_it.notes["recoveries"]) == {"trained", "added", "audited"}
    assert came_of_it.notes["nodes_left"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train-worker", "train-index"])
def test_a_node_killed_while_networks_are_trained(tmp_path: Path, name: str) -> None:
    came_of_it = run_apart(name, tmp_path)
    assert came_of_it.equal
    assert came_of_it.notes["steps"]
    assert 25 <= came_of_it.notes["killed_after"] < 60


@pytest.mark.slow
def test_a_node_killed_while_images_are_translated(tmp_path: Path) -> None:
    came_of_it = run_apart("translate-node", tmp_path)
    assert came_of_it.equal
    assert came_of_it.notes["made"] == 32


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bank-head", "train-head"])
def test_a_head_that_dies_costs_the_command_and_nothing_that_was_done(tmp_path: Path, name: str) -> None:
    came_of_it = run_apart(name, tmp_path)
    assert came_of_it.equal
    assert came_of_it.notes["exit"] == 1
    assert came_of_it.notes["left"] > 0
    # Ray's own words come before it, line after line.
    last = came_of_it.notes["said"].splitlines()[-1]
    assert last.startswith(("the head of the Ray cluster, ", "art2real-cli: training in "))
    assert "--resume" in last


@pytest.mark.slow
@pytest.mark.skipif(not has_redis(), reason="there is no redis-server")
def test_a_head_that_keeps_its_state_in_redis_comes_back(tmp_path: Path) -> None:
    assert run_apart("bank-redis", tmp_path).equal


def test_each_fault_is_in_the_table_of_the_docs() -> None:
    table = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
    assert [fault.name for fault in FAULTS if f"`{fault.name}`" not in table] == []
