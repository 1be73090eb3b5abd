"""Index actors against the same index in this process, and what it costs when they are killed."""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from common import alternate, spread
from retrieval_bank import Corpus, indexed, threads

from art2real.config.tree import Cluster
from art2real.core.patches import extract, to_signed
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.distributed.cluster import session
from art2real.index.retriever import BankRetriever, open_retriever

SCALE = Scale(8, 5)
NEIGHBOURS = 32
SHARDS = (1, 2, 4)
REPEATS = 9
KILLS = 5


def rows(corpus: Corpus) -> list[dict[str, object]]:
    """The 32 nearest rows of all patches of one image; each search and each actor has one thread."""
    import torch

    image = torch.from_numpy(corpus.images()[0][1]).permute(2, 0, 1)[None]
    queries = extract(to_signed(image), SCALE.size, SCALE.stride)[0].numpy()
    banks = {shards: indexed(corpus.bank(), SCALE, shards=shards) for shards in SHARDS}
    result: list[dict[str, object]] = []
    with session(None), threads(1):
        for shards, bank in banks.items():
            result.append(_against_one_process(bank, shards, queries))
            print(result[-1], flush=True)
        result += _in_flight(banks[1], queries)
        result += _killed(banks[1], queries)
    return result


def _against_one_process(bank: MemoryBank, shards: int, queries: np.ndarray) -> dict[str, object]:
    from art2real.distributed.index_actors import open_actor_retriever, start_index_actors

    local = open_retriever(bank, SCALE, threads=1)
    actors = start_index_actors(bank.path, [SCALE], Cluster(index_cpus=0.5))
    remote = open_actor_retriever(bank, SCALE, actors)
    for mine, theirs in zip(local.search(queries, 5), remote.search(queries, 5), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    runs = {
        "local": lambda: local.neighbours(queries, NEIGHBOURS),
        "actors": lambda: remote.neighbours(queries, NEIGHBOURS),
    }
    seconds = alternate(runs, repeats=REPEATS)
    actors.stop()
    ratio = spread([b / a for a, b in zip(seconds["local"], seconds["actors"], strict=True)])
    local_seconds = statistics.median(seconds["local"])
    return _row(
        f"{len(queries):,} queries, {shards} shard{'s' * (shards > 1)}: actors / in one process",
        ratio,
        "×",
        f"{local_seconds:.3f} s in one process",
    )


def _in_flight(bank: MemoryBank, queries: np.ndarray) -> list[dict[str, object]]:
    """Round trips while other requests of the same size wait at the same actor."""
    from art2real.distributed.index_actors import open_actor_retriever, start_index_actors

    actors = start_index_actors(bank.path, [SCALE], Cluster(index_cpus=0.5))
    remote = open_actor_retriever(bank, SCALE, actors)
    result = []
    one = queries[:1]
    remote.neighbours(one, NEIGHBOURS)
    result.append(_row("round trip of one query", spread(_times(lambda: remote.neighbours(one, 1), 50)), "s"))
    with ThreadPoolExecutor(8) as pool:
        for others in (0, 1, 4):
            trips, each = [], []
            for _ in range(REPEATS):
                begun = time.perf_counter()
                waiting = [pool.submit(remote.neighbours, queries, NEIGHBOURS) for _ in range(others)]
                mine = time.perf_counter()
                remote.neighbours(queries, NEIGHBOURS)
                trips.append(time.perf_counter() - mine)
                for other in waiting:
                    other.result()
                each.append((time.perf_counter() - begun) / (others + 1))
            name = f"round trip with {others} other requests in flight"
            result.append(_row(name, spread(trips), "s", f"{statistics.median(each):.3f} s a request"))
    actors.stop()
    return result


def _killed(bank: MemoryBank, queries: np.ndarray) -> list[dict[str, object]]:
    """How much longer a query takes whose actor is killed in the middle of it, once and twice."""
    import ray

    from art2real.distributed.index_actors import open_actor_retriever, start_index_actors

    def process_of(handle: object) -> int:
        while True:
            try:
                return int(ray.get(handle.__ray_call__.remote(lambda _: os.getpid()), timeout=30))  # type: ignore[attr-defined]
            except ray.exceptions.ActorUnavailableError:
                time.sleep(0.02)

    queries = np.tile(queries, (4, 1))
    result = []
    for replicas, kills in ((1, 1), (1, 2), (2, 1)):
        actors = start_index_actors(bank.path, [SCALE], Cluster(index_cpus=0.5, index_replicas=replicas))
        remote = open_actor_retriever(bank, SCALE, actors)
        expected = remote.search(queries, NEIGHBOURS)
        usual = statistics.median(_times(lambda remote=remote: remote.search(queries, NEIGHBOURS), 3))
        later = []
        for _ in range(KILLS):
            answers: list[tuple[np.ndarray, np.ndarray]] = []
            pids = [process_of(handle) for handle in actors.handles]
            asking = threading.Thread(target=_ask, args=(remote, queries, answers))
            begun = time.perf_counter()
            asking.start()
            for kill in range(kills):
                time.sleep(usual / 3)
                victims = pids if kill == 0 else [process_of(handle) for handle in actors.handles]
                os.kill(victims[_busiest(victims)], signal.SIGKILL)
            asking.join()
            later.append(time.perf_counter() - begun - usual)
            for mine, theirs in zip(expected, answers[0], strict=True):
                np.testing.assert_array_equal(mine, theirs)
        actors.stop()
        what = (
            f"killed {'twice' if kills > 1 else 'once'} in a query, {replicas} replica{'s' * (replicas > 1)}"
        )
        result.append(_row(f"{what}: later by", spread(later), "s", f"{usual:.2f} s without"))
        print(result[-1], flush=True)
    return result


def _busiest(pids: list[int]) -> int:
    """Which of some processes has used the processor most in a tenth of a second."""
    import psutil

    processes = [psutil.Process(pid) for pid in pids]
    before = [process.cpu_times().user for process in processes]
    time.sleep(0.1)
    used = [process.cpu_times().user - was for process, was in zip(processes, before, strict=True)]
    return int(np.argmax(used))


def _ask(remote: BankRetriever, queries: np.ndarray, answers: list[tuple[np.ndarray, np.ndarray]]) -> None:
    answers.append(remote.search(queries, NEIGHBOURS))


def _times(run: object, count: int) -> list[float]:
    seconds = []
    for _ in range(count):
        begun = time.perf_counter()
        run()  # type: ignore[operator]
        seconds.append(time.perf_counter() - begun)
    return seconds


def _row(what: str, values: dict[str, float], unit: str, note: str = "") -> dict[str, object]:
    return {
        "what": what,
        "median": float(f"{values['median']:.3g}"),
        "least - greatest": f"{values['least']:.3g} - {values['greatest']:.3g}",
        "unit": unit,
        "beside": note,
    }
