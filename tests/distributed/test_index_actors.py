from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.distributed.index_actors import (
    ActorShards,
    IndexActors,
    open_actor_retriever,
    start_index_actors,
)
from art2real.errors import UserError
from art2real.index.audit import make_queries
from art2real.index.build import discard
from art2real.index.manifest import index_folder
from art2real.index.retriever import BankRetriever, open_retriever
from tests.index.banks import NARROW, WIDE, index_bank, make_bank, request

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> MemoryBank:
    bank = make_bank(tmp_path_factory.mktemp("bank"))
    index_bank(bank, WIDE, request("PCA64,IVF8,SQfp16", shards=2))
    index_bank(bank, NARROW, request("Flat", shards=1))
    return bank


def started(bank: MemoryBank) -> IndexActors:
    return start_index_actors(bank.path, [WIDE, NARROW], num_cpus=0.5, num_gpus=0, threads=1)


@pytest.fixture(scope="module")
def actors(bank: MemoryBank) -> Iterator[IndexActors]:
    actors = started(bank)
    yield actors
    actors.stop()


@pytest.mark.parametrize("scale", [WIDE, NARROW])
def test_actors_answer_as_this_process_does(bank: MemoryBank, actors: IndexActors, scale: Scale) -> None:
    here = open_retriever(bank, scale, threads=1)
    there = open_actor_retriever(bank, scale, actors)
    queries = make_queries(bank, scale, 300, seed=1)
    queries[3] = np.nan
    for k in (1, 64):
        for mine, theirs in zip(here.search(queries, k), there.search(queries, k), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    for mine, theirs in zip(here.cells(), there.cells(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    cells = np.flatnonzero(here.cells()[1]).repeat(30)
    np.testing.assert_array_equal(
        here.draw(cells, np.random.default_rng(0)), there.draw(cells, np.random.default_rng(0))
    )


def test_handles_work_in_other_processes(bank: MemoryBank, actors: IndexActors) -> None:
    queries = make_queries(bank, WIDE, 10, seed=2)

    @ray.remote(num_cpus=1)
    def worker(path: Path, actors: IndexActors) -> np.ndarray:
        opened = MemoryBank.open(path)
        return open_actor_retriever(opened, WIDE, actors).search(queries, 5)[1]

    rows = ray.get(worker.remote(bank.path, actors))
    np.testing.assert_array_equal(rows, open_retriever(bank, WIDE, threads=1).search(queries, 5)[1])


def test_an_actor_holds_no_torch(actors: IndexActors) -> None:
    [handle] = actors.handles[NARROW.name]
    modules = ray.get(handle.__ray_call__.remote(lambda _: set(__import__("sys").modules)))
    assert "faiss" in modules
    assert "torch" not in modules


def test_a_killed_actor_comes_back_and_answers_the_same(bank: MemoryBank) -> None:
    actors = started(bank)
    try:
        retriever = open_actor_retriever(bank, NARROW, actors)
        queries = make_queries(bank, NARROW, 2000, seed=3)
        expected = retriever.search(queries, 5)
        [handle] = actors.handles[NARROW.name]
        process = ray.get(handle.__ray_call__.remote(lambda _: os.getpid()))
        answers: list[tuple[np.ndarray, np.ndarray]] = []
        # The actor stops in mid-query, and nothing but its death can make the query go on.
        os.kill(process, signal.SIGSTOP)
        asking = threading.Thread(target=lambda: answers.append(retriever.search(queries, 5)))
        asking.start()
        time.sleep(0.5)
        assert asking.is_alive()
        os.kill(process, signal.SIGKILL)
        asking.join(timeout=60)
        assert not asking.is_alive()
        for before, after in zip(expected, answers[0], strict=True):
            np.testing.assert_array_equal(before, after)
        assert ray.get(handle.__ray_call__.remote(lambda _: os.getpid())) != process
    finally:
        actors.stop()


def test_a_lost_actor_is_a_clear_error(bank: MemoryBank) -> None:
    actors = started(bank)
    retriever = open_actor_retriever(bank, WIDE, actors)
    actors.stop()
    with pytest.raises(UserError, match="an index actor is lost") as lost:
        retriever.search(make_queries(bank, WIDE, 2, seed=0), 1)
    assert "\n" not in str(lost.value)


def test_a_damaged_shard_is_named_at_the_start(tmp_path: Path) -> None:
    bank = make_bank(tmp_path, photos=4)
    index_bank(bank, NARROW, request("Flat", shards=2))
    part = index_folder(bank.path, NARROW) / "part-00001.index"
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"part-00001\.index has .* it is truncated") as refused:
        start_index_actors(bank.path, [NARROW], num_cpus=0.5, num_gpus=0, threads=1)
    assert "\n" not in str(refused.value)


def test_actors_of_an_older_index_are_refused(tmp_path: Path) -> None:
    bank = make_bank(tmp_path, photos=4)
    index_bank(bank, NARROW, request("IVF4,Flat"))
    actors = start_index_actors(bank.path, [NARROW], num_cpus=0.5, num_gpus=0, threads=1)
    try:
        assert isinstance(open_actor_retriever(bank, NARROW, actors), BankRetriever)
        discard(bank, NARROW)
        index_bank(bank, NARROW, request("IVF2,Flat"))
        with pytest.raises(UserError, match="hold another index"):
            open_actor_retriever(bank, NARROW, actors)
    finally:
        actors.stop()


def test_no_room_for_the_actors(bank: MemoryBank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("art2real.distributed.index_actors._START_SECONDS", 1.0)
    with pytest.raises(UserError, match=r"did not start within 1 seconds.*no room for 3"):
        start_index_actors(bank.path, [WIDE, NARROW], num_cpus=100, num_gpus=0, threads=1)


def test_all_shards_are_asked_at_once() -> None:
    class Slow:
        def cell_sizes(self) -> np.ndarray:
            time.sleep(1.0)
            return np.zeros(1, np.int64)

    handles = [ray.remote(num_cpus=0.5)(Slow).remote() for _ in range(3)]
    ray.get([handle.__ray_ready__.remote() for handle in handles])
    began = time.monotonic()
    assert len(ActorShards(handles).cell_sizes()) == 3
    assert time.monotonic() - began < 2.5
