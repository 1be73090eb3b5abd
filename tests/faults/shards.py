"""An index shard whose file is damaged, as one of the processes that hold it finds out when it comes back."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray

from art2real.config.tree import Cluster
from art2real.data.bank import MemoryBank
from art2real.distributed.index_actors import IndexActors, open_actor_retriever, start_index_actors
from art2real.errors import UserError
from art2real.index.manifest import check_index
from art2real.index.queries import make_queries
from art2real.index.retriever import BankRetriever
from tests.faults.faulty_cluster import faulty_cluster, wait_for
from tests.faults.outcome import Outcome, Stopwatch
from tests.index.banks import WIDE, index_bank, make_bank, request

_SEARCHES = 10


def shard_damaged(folder: Path) -> Outcome:
    """One bit of a shard's file changes, and one of two replicas, each on a node of its own, loads it anew.

    Then the same with a single process that holds it, which ends the work or leaves the shard out.
    """
    bank = make_bank(folder)
    index_bank(bank, WIDE, request("PCA64,IVF8,SQfp16", shards=2))
    path = bank.path / check_index(bank, WIDE).parts[0].file.path
    queries = make_queries(bank, WIDE, 200, seed=1)
    warnings = _Warnings()
    logging.getLogger("art2real").addHandler(warnings)
    with faulty_cluster(2, 2):
        _change_a_bit(path)
        said_at_start = _error_of(lambda: _start(bank, index_replicas=2))
        _change_a_bit(path)  # as it was

        actors, retriever = _start(bank, index_replicas=2)
        with Stopwatch() as plain:
            expected = [retriever.search(queries, 5) for _ in range(_SEARCHES)]
        _change_a_bit(path)
        damaged = actors.handles[0]
        _kill(damaged)
        struck = time.monotonic()
        with Stopwatch() as disturbed:
            found = [retriever.search(queries, 5)]
            recovery = time.monotonic() - struck
            notes: dict[str, Any] = {"said_by_replica": str(wait_for(lambda: _refusal(damaged)))}
            found += [retriever.search(queries, 5) for _ in range(_SEARCHES - 1)]
        notes["warnings"] = list(warnings.texts)
        actors.stop()

        _change_a_bit(path)
        for choice in ("error", "skip"):
            actors, retriever = _start(bank, on_missing_shard=choice)
            _change_a_bit(path)
            _kill(actors.handles[0])
            notes[choice] = _error_of(lambda retriever=retriever: retriever.search(queries, 5))
            notes[f"missing_{choice}"] = dict(retriever.shards.missing)
            actors.stop()
            _change_a_bit(path)
    notes["said_at_start"] = said_at_start
    return Outcome(plain.seconds, disturbed.seconds, recovery, _same(expected, found), notes)


class _Warnings(logging.Handler):
    """Keeps what the log says."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def _start(bank: MemoryBank, **settings: Any) -> tuple[IndexActors, BankRetriever]:
    # Patches come from the bank's files: of each replica of an actor nothing but searches is asked, in turns.
    actors = start_index_actors(bank.path, [WIDE], Cluster(patches_from="bank", **settings))
    return actors, open_actor_retriever(bank, WIDE, actors)


def _change_a_bit(path: Path) -> None:
    """In the codes of the rows, where FAISS cannot see it. Twice: as it was."""
    content = bytearray(path.read_bytes())
    content[-len(content) // 3] ^= 0b100
    path.write_bytes(content)


def _kill(handle: Any) -> None:
    os.kill(ray.get(handle.__ray_call__.remote(lambda _: os.getpid())), signal.SIGKILL)


def _refusal(handle: Any) -> UserError | None:
    """Why a process that was killed has not loaded its shard, once it is back."""
    try:
        [answer] = ray.get(handle.cell_sizes.remote())
    except ray.exceptions.RayActorError:
        return None
    return answer if isinstance(answer, UserError) else None


def _error_of(work: Any) -> str:
    try:
        work()
    except UserError as error:
        return str(error)
    return ""


def _same(expected: list[Any], found: list[Any]) -> bool:
    pairs = zip(expected, found, strict=True)
    return all(np.array_equal(a, b) for mine, theirs in pairs for a, b in zip(mine, theirs, strict=True))
