from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray

from art2real.config.tree import Cluster
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.distributed.actor_shards import ActorShards
from art2real.distributed.index_actors import IndexActors, open_actor_retriever, start_index_actors
from art2real.distributed.replicas import Replicas
from art2real.errors import UserError
from art2real.index.build import discard
from art2real.index.held import held
from art2real.index.manifest import check_index, index_folder
from art2real.index.queries import make_queries
from art2real.index.retriever import BankRetriever, open_retriever
from tests.index.banks import NARROW, WIDE, append_photos, index_bank, make_bank, request

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> MemoryBank:
    bank = make_bank(tmp_path_factory.mktemp("bank"))
    index_bank(bank, WIDE, request("PCA64,IVF8,SQfp16", shards=2))
    index_bank(bank, NARROW, request("Flat", shards=1))
    return bank


def started(bank: MemoryBank) -> IndexActors:
    return start_index_actors(bank.path, [WIDE, NARROW], Cluster(patches_from="owners"))


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
    [[handle]] = actors.scales[NARROW.name].replicas
    modules = ray.get(handle.__ray_call__.remote(lambda _: set(__import__("sys").modules)))
    assert "faiss" in modules
    assert "torch" not in modules


def test_a_damaged_shard_is_named_at_the_start(tmp_path: Path) -> None:
    bank = make_bank(tmp_path, photos=4)
    index_bank(bank, NARROW, request("Flat", shards=2))
    part = index_folder(bank.path, NARROW) / "part-00001.index"
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"part-00001\.index has .* it is truncated") as refused:
        start_index_actors(bank.path, [NARROW], Cluster())
    assert "\n" not in str(refused.value)


def test_actors_are_only_on_nodes_with_the_label(tmp_path: Path) -> None:
    bank = make_bank(tmp_path, photos=4)
    index_bank(bank, NARROW, request("Flat"))
    start_index_actors(bank.path, [NARROW], Cluster(index_label="role=tests")).stop()
    with pytest.raises(UserError, match=r"no node has the label role=others.*cluster\.index_label"):
        start_index_actors(bank.path, [NARROW], Cluster(index_label="role=others"))


def test_actors_of_an_older_index_are_refused(tmp_path: Path) -> None:
    bank = make_bank(tmp_path, photos=4)
    index_bank(bank, NARROW, request("IVF4,Flat"))
    actors = start_index_actors(bank.path, [NARROW], Cluster())
    try:
        assert isinstance(open_actor_retriever(bank, NARROW, actors), BankRetriever)
        discard(bank, NARROW)
        index_bank(bank, NARROW, request("IVF2,Flat"))
        with pytest.raises(UserError, match="hold another index"):
            open_actor_retriever(bank, NARROW, actors)
    finally:
        actors.stop()


def test_any_number_of_shards_in_actors_answers_as_one_index_here(tmp_path: Path) -> None:
    bank = make_bank(tmp_path, photos=8, per_shard=1)
    queries = make_queries(bank, WIDE, 100, seed=4)
    cells = np.arange(8).repeat(20)
    for shards in (1, 2, 4, 8):
        discard(bank, WIDE)
        index_bank(bank, WIDE, request("PCA64,IVF8,SQfp16", shards=shards))
        if shards == 1:
            here = open_retriever(bank, WIDE, threads=1)
            found = here.search(queries, 6)
            cells = cells[here.cells()[1][cells] > 0]
            drawn = here.draw(cells, np.random.default_rng(0))
        actors = start_index_actors(bank.path, [WIDE], Cluster(index_actors=2, index_cpus=0.25))
        there = open_actor_retriever(bank, WIDE, actors)
        assert len(actors.handles) == min(2, shards)
        assert len(there.shards.cell_sizes()) == shards
        for mine, theirs in zip(found, there.search(queries, 6), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        np.testing.assert_array_equal(there.draw(cells, np.random.default_rng(0)), drawn)
        actors.stop()


def test_requests_at_the_same_time_are_answered_as_alone(bank: MemoryBank, actors: IndexActors) -> None:
    retriever = open_actor_retriever(bank, WIDE, actors)
    requests = [
        (make_queries(bank, WIDE, 20 + 7 * number, seed=number), 1 + number % 2) for number in range(12)
    ]
    alone = [retriever.search(*each) for each in requests]
    with ThreadPoolExecutor(len(requests)) as pool:
        together = list(pool.map(lambda each: retriever.search(*each), requests))
    for mine, theirs in zip(alone, together, strict=True):
        np.testing.assert_array_equal(mine[0], theirs[0])
        np.testing.assert_array_equal(mine[1], theirs[1])


def test_owners_send_the_patches_of_rows_in_their_order(bank: MemoryBank, actors: IndexActors) -> None:
    shards = shards_of(bank, WIDE, actors)
    rows = np.random.default_rng(0).integers(0, bank.rows(WIDE), 500)
    patches = shards.fetch(rows)
    assert patches.dtype == np.uint8
    np.testing.assert_array_equal(patches, bank.patches(WIDE, rows))
    assert shards.fetch(rows[:0]).shape == (0, 8, 8, 3)
    for outside in (-1, bank.rows(WIDE)):
        with pytest.raises(IndexError, match=f"got {outside} to {outside}"):
            shards.fetch(np.array([outside]))


def test_on_one_node_patches_come_from_the_banks_own_files(bank: MemoryBank) -> None:
    actors = start_index_actors(bank.path, [NARROW], Cluster())
    shards = shards_of(bank, NARROW, actors)
    actors.stop()
    rows = np.arange(5)
    np.testing.assert_array_equal(shards.fetch(rows), bank.patches(NARROW, rows))


def shards_of(bank: MemoryBank, scale: Scale, actors: IndexActors) -> ActorShards:
    shards = open_actor_retriever(bank, scale, actors).shards
    assert isinstance(shards, ActorShards)
    return shards


def test_actors_are_counted_with_their_replicas() -> None:
    assert Cluster().actors_of(3) == 3
    assert Cluster(index_actors=2, index_replicas=3).actors_of(5) == 6
    assert Cluster(index_actors=9).actors_of(2) == 2


def test_no_node_is_large_enough_for_an_actor(bank: MemoryBank) -> None:
    with pytest.raises(
        UserError, match=r"an index actor claims 100 CPUs, and no node has more than 4; .*"
    ) as no:
        start_index_actors(bank.path, [WIDE, NARROW], Cluster(index_cpus=100))
    assert "let each claim less with cluster.index_cpus" in str(no.value)


def test_actors_that_do_not_load_in_time_are_an_error(
    bank: MemoryBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("art2real.distributed.index_actors._START_SECONDS", 0.01)
    with pytest.raises(UserError, match=r"did not start within 0\.01 seconds"):
        start_index_actors(bank.path, [WIDE, NARROW], Cluster())


def test_an_actor_takes_the_memory_that_it_claims(bank: MemoryBank, actors: IndexActors) -> None:
    for scale in (WIDE, NARROW):
        manifest = check_index(bank, scale)
        queries = make_queries(bank, scale, 1000, seed=5)
        open_actor_retriever(bank, scale, actors).search(queries, 64)
        for shards, [handle] in zip(*held_by(actors, scale), strict=True):
            claimed = held(manifest, scale, shards).memory
            taken = ray.get(handle.__ray_call__.remote(lambda _: psutil.Process().memory_full_info().uss))
            assert claimed / 2 < taken < claimed


def test_each_method_takes_turns_of_its_own() -> None:
    replicas = Replicas([object(), object()])
    chosen = [(replicas.choose([0, 1], "search"), replicas.choose([0, 1], "patches")) for _ in range(4)]
    for searched, fetched in (chosen[:2], chosen[2:]):
        assert {searched[0], fetched[0]} == {searched[1], fetched[1]} == {0, 1}


def held_by(actors: IndexActors, scale: Scale) -> tuple[Any, Any]:
    return actors.scales[scale.name].held, actors.scales[scale.name].replicas


def test_actors_of_an_index_to_which_rows_were_added_are_refused(tmp_path: Path) -> None:
    bank = make_bank(tmp_path, photos=6, per_shard=3)
    index_bank(bank, NARROW, request(factory="Flat"))
    actors = start_index_actors(bank.path, [NARROW], Cluster())
    try:
        append_photos(tmp_path, 3, seed=50)
        grown = MemoryBank.open(bank.path)
        index_bank(grown, NARROW, request(factory="Flat"))
        with pytest.raises(UserError, match="the index actors hold another index than bank"):
            open_actor_retriever(grown, NARROW, actors)
    finally:
        actors.stop()


def test_an_actor_that_starts_again_does_not_take_up_another_index(tmp_path: Path) -> None:
    bank = make_bank(tmp_path)
    index_bank(bank, NARROW, request(factory="IVF8,Flat", seed=1))
    actors = start_index_actors(bank.path, [NARROW], Cluster())
    retriever = open_actor_retriever(bank, NARROW, actors)
    try:
        discard(bank, NARROW)
        index_bank(bank, NARROW, request(factory="IVF8,Flat", seed=2))
        ray.kill(actors.handles[0], no_restart=False)
        with pytest.raises(UserError, match="was built anew while its index was in use"):
            retriever.search(make_queries(bank, NARROW, 5, seed=1), 1)
    finally:
        actors.stop()


def test_replicas_that_were_given_up_are_heard_again() -> None:
    """A ping of before must not be the last one: nobody would ask those who are well again."""

    @ray.remote(num_cpus=0)
    class Well:
        def ping(self) -> None:
            pass

    replicas = Replicas([Well.remote()])
    replicas.doubt(0)
    ray.get(replicas.handles[0].ping.remote())
    time.sleep(0.2)
    assert replicas.choose([0], "search") == 0  # the answered ping is heard here
    replicas.give_up()
    ends = time.monotonic() + 20
    while replicas.lost and time.monotonic() < ends:
        time.sleep(0.05)
    assert not replicas.lost
    ray.kill(replicas.handles[0])
