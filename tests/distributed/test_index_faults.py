"""Index actors that are killed, hang, or lose their files: the same answer, or the stated error."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray

from art2real.config.tree import Cluster
from art2real.data.bank import MemoryBank
from art2real.distributed.actor_shards import ActorShards
from art2real.distributed.index_actors import IndexActors, open_actor_retriever, start_index_actors
from art2real.errors import UserError
from art2real.index.manifest import check_index
from art2real.index.protocol import Neighbours
from art2real.index.queries import make_queries
from art2real.index.retriever import BankRetriever, open_retriever
from art2real.index.shard import IndexShard, LocalShards
from tests.index.banks import NARROW, WIDE, index_bank, make_bank, request

pytestmark = pytest.mark.usefixtures("ray_cluster")

Start = Callable[..., tuple[IndexActors, BankRetriever]]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bank = make_bank(tmp_path_factory.mktemp("bank"))
    index_bank(bank, WIDE, request("PCA64,IVF8,SQfp16", shards=2))
    index_bank(bank, NARROW, request("Flat", shards=1))
    return bank.path


@pytest.fixture
def bank(original: Path, tmp_path: Path) -> MemoryBank:
    """A bank whose files the test may spoil: two index shards at the wide scale, one at the narrow one."""
    return MemoryBank.open(shutil.copytree(original, tmp_path / "bank"))


@pytest.fixture
def start(bank: MemoryBank) -> Iterator[Start]:
    started: list[IndexActors] = []

    def run(scale: Any, **settings: Any) -> tuple[IndexActors, BankRetriever]:
        actors = start_index_actors(bank.path, [scale], Cluster(**settings))
        started.append(actors)
        return actors, open_actor_retriever(bank, scale, actors)

    yield run
    for actors in started:
        actors.stop()


def process_of(handle: Any) -> psutil.Process:
    return psutil.Process(ray.get(handle.__ray_call__.remote(lambda _: os.getpid()), timeout=30))


def shards_of(retriever: BankRetriever) -> ActorShards:
    assert isinstance(retriever.shards, ActorShards)
    return retriever.shards


def assert_same(expected: Neighbours, found: Neighbours) -> None:
    np.testing.assert_array_equal(expected[0], found[0])
    np.testing.assert_array_equal(expected[1], found[1])


def long_search(bank: MemoryBank) -> np.ndarray:
    """Queries that keep one thread busy for some seconds."""
    return np.tile(make_queries(bank, NARROW, 1000, seed=3), (100, 1))


def wait_until_busy(process: psutil.Process) -> None:
    """Until a search is under way in a process that had nothing to do."""
    before, began = process.cpu_times().user, time.monotonic()
    while process.cpu_times().user < before + 0.1:
        assert time.monotonic() < began + 30
        time.sleep(0.01)


def test_an_actor_killed_twice_in_a_query_answers_the_same(bank: MemoryBank, start: Start) -> None:
    actors, retriever = start(NARROW)
    queries = long_search(bank)
    expected = retriever.search(queries, 1)
    [handle] = actors.handles
    process = process_of(handle)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(retriever.search, queries, 1)
        for _ in range(2):
            wait_until_busy(process)
            assert not asking.done()
            process.kill()
            process.wait(10)
            while True:  # until it has been started again
                try:
                    process = process_of(handle)
                    break
                except ray.exceptions.ActorUnavailableError:
                    time.sleep(0.05)
        assert_same(expected, asking.result(timeout=60))


def test_a_ping_is_answered_while_a_search_runs(bank: MemoryBank, start: Start) -> None:
    actors, _ = start(NARROW)
    [handle] = actors.handles
    queries = long_search(bank)
    searching = handle.search.remote(queries, 1)
    wait_until_busy(process_of(handle))
    ray.get(handle.ping.remote(), timeout=5)
    assert ray.wait([searching], timeout=0)[0] == []


def test_a_late_query_is_put_to_another_replica_which_is_then_preferred(
    bank: MemoryBank, start: Start
) -> None:
    actors, retriever = start(NARROW, index_replicas=2, query_timeout=1.0)
    queries = make_queries(bank, NARROW, 50, seed=1)
    expected = open_retriever(bank, NARROW, threads=1).search(queries, 5)
    stopped = process_of(actors.handles[0])
    stopped.suspend()
    try:
        began = time.monotonic()
        for _ in range(20):
            assert_same(expected, retriever.search(queries, 5))
        # Each second query would have waited, were the other replica still asked in its turn.
        assert time.monotonic() - began < 5
    finally:
        stopped.resume()


def test_a_dead_replica_is_not_waited_for(bank: MemoryBank, start: Start) -> None:
    actors, retriever = start(NARROW, index_replicas=2)
    queries = make_queries(bank, NARROW, 50, seed=1)
    expected = open_retriever(bank, NARROW, threads=1).search(queries, 5)
    ray.kill(actors.handles[1])
    for _ in range(4):
        assert_same(expected, retriever.search(queries, 5))


def test_a_query_without_an_answer_in_time_is_an_error_that_names_the_shard(
    bank: MemoryBank, start: Start
) -> None:
    actors, retriever = start(WIDE, query_timeout=0.5)
    queries = make_queries(bank, WIDE, 5, seed=1)
    expected = retriever.search(queries, 2)
    stopped = process_of(actors.handles[1])
    stopped.suspend()
    try:
        with pytest.raises(UserError, match=r"scale 8:4, shard 2 of 2 did not answer in 0\.5 s;") as late:
            retriever.search(queries, 2)
        assert "\n" not in str(late.value)
    finally:
        stopped.resume()
    assert_same(expected, retriever.search(queries, 2))


def test_actors_that_were_stopped_are_an_error_at_once(bank: MemoryBank, start: Start) -> None:
    actors, retriever = start(WIDE, on_missing_shard="skip")
    actors.stop()
    with pytest.raises(UserError, match=r"shard 1 of 2 is lost: its index actor was stopped") as lost:
        retriever.search(make_queries(bank, WIDE, 2, seed=0), 1)
    assert "\n" not in str(lost.value)


def lose_second_shard(bank: MemoryBank, actors: IndexActors) -> None:
    """Its file goes, and the actor that holds it is killed."""
    (bank.path / check_index(bank, WIDE).parts[1].file.path).unlink()
    process = process_of(actors.handles[-1])
    process.kill()
    process.wait(10)


def test_a_shard_whose_file_is_gone_when_its_actor_comes_back_is_an_error(
    bank: MemoryBank, start: Start
) -> None:
    actors, retriever = start(WIDE)
    lose_second_shard(bank, actors)
    with pytest.raises(
        UserError, match=r"scale 8:4, shard 2 of 2 is lost: .*part-00001\.index is missing.*to skip"
    ) as lost:
        retriever.search(make_queries(bank, WIDE, 2, seed=0), 1)
    assert "\n" not in str(lost.value)


@pytest.mark.parametrize("index_actors", [1, 2])
def test_a_lost_shard_can_be_skipped_and_is_counted(
    bank: MemoryBank, start: Start, index_actors: int, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = check_index(bank, WIDE)
    first = IndexShard.load(bank.path / manifest.parts[0].file.path, manifest.nprobe, threads=1)
    queries = make_queries(bank, WIDE, 40, seed=2)
    expected = BankRetriever(bank, WIDE, LocalShards([first])).search(queries, 5)
    actors, retriever = start(WIDE, index_actors=index_actors, on_missing_shard="skip", patches_from="owners")
    shards = shards_of(retriever)
    assert not shards.missing
    lose_second_shard(bank, actors)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert_same(expected, retriever.search(queries, 5))
    assert shards.missing == {1: 120}
    assert [record.message.count("shard 2 of 2 is lost") for record in caplog.records] == [1]
    kept, lost = shards.cell_sizes()
    np.testing.assert_array_equal(kept, first.cell_sizes())
    assert lost.sum() == manifest.parts[1].rows - manifest.parts[1].left_out.rows  # it may come back
    cell, zero = np.flatnonzero(kept)[:1], np.zeros(1, np.int64)
    there, gone = shards.rows_at([cell, cell], [zero, zero])
    assert there.tolist() == first.rows_at(cell, zero).tolist()
    assert gone.tolist() == [-1]
    rows = np.arange(0, bank.rows(WIDE), 50)
    np.testing.assert_array_equal(shards.fetch(rows), bank.patches(WIDE, rows))


def test_a_skipped_actor_is_not_waited_for_again_until_it_comes_back(bank: MemoryBank, start: Start) -> None:
    actors, retriever = start(WIDE, on_missing_shard="skip", query_timeout=1.0, patches_from="owners")
    queries = make_queries(bank, WIDE, 5, seed=1)
    whole = retriever.search(queries, 500)
    rows = np.arange(0, bank.rows(WIDE), 50)
    stopped = process_of(actors.handles[1])
    stopped.suspend()
    try:
        began = time.monotonic()
        partly = [retriever.search(queries, 500) for _ in range(10)]
        np.testing.assert_array_equal(shards_of(retriever).fetch(rows), bank.patches(WIDE, rows))
        assert time.monotonic() - began < 4
    finally:
        stopped.resume()
    second = check_index(bank, WIDE).parts[1].first_row
    assert all(found[1].max() < second <= whole[1].max() for found in partly)
    until = time.monotonic() + 20
    while retriever.search(queries, 500)[1].max() < second:
        assert time.monotonic() < until
    assert_same(whole, retriever.search(queries, 500))


def test_no_shard_left_is_an_error_even_if_lost_ones_are_skipped(bank: MemoryBank, start: Start) -> None:
    actors, retriever = start(WIDE, index_actors=1, on_missing_shard="skip")
    (bank.path / check_index(bank, WIDE).parts[0].file.path).unlink()
    lose_second_shard(bank, actors)
    with pytest.raises(UserError, match=r"shard 1 of 2 is lost: .*is missing.*\(no shard is left\)"):
        retriever.search(make_queries(bank, WIDE, 2, seed=0), 1)


@pytest.mark.slow
def test_the_node_of_a_shard_dies(original: Path) -> None:
    """In a process of its own, with a cluster of three nodes, because this one is part of a cluster."""
    script = Path(__file__).with_name("node_death.py")
    done = subprocess.run(
        [sys.executable, str(script), str(original)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["replicas_were_apart"]
    assert report["in_flight"]
    assert report["moved"]
    assert report["answers_with_one_replica"] == report["answers_with_two"] == "the same"
    assert report["patches_come_from_owners"]
    assert "did not answer in 3 s" in report["no_room"]
