"""The shards of one scale, held by index actors, as a retriever sees them."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray

from art2real.config.tree import Cluster
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.distributed.replicas import NoAnswer, Question, Replicas, ask_all
from art2real.errors import UserError
from art2real.index.protocol import Neighbours

log = logging.getLogger(__name__)

_LOOK_AGAIN_SECONDS = 600.0
"""After no replica was found that has all of its shards."""


@dataclass(frozen=True)
class ScaleActors:
    """The actors of one scale; may be sent to other processes."""

    first_rows: tuple[int, ...]
    """Of each index shard, in order."""
    held: tuple[tuple[int, ...], ...]
    """By actor, the numbers of the shards that it holds: all shards, in order."""
    replicas: tuple[tuple[Any, ...], ...]
    """By actor, the handles of its replicas."""
    cell_sizes: tuple[np.ndarray, ...] = ()
    """By shard, the rows of each cell: known from the start, so that a shard that is lost for a while has not
    lost them for good."""


class ActorShards:
    """Implements `art2real.index.protocol.Shards` and `PatchFetcher`; safe to share between threads.

    All actors are asked at once. A replica that could not load one of its shards is no longer asked where
    another one has them all. A shard is lost when no replica of its actor answers in `query_timeout` seconds,
    or when its file can no longer be loaded. With `on_missing_shard: skip` a lost shard finds nothing, and
    its rows cannot be drawn; it is asked again once its actor answers a ping. No shard left is an error.
    """

    def __init__(
        self, bank: MemoryBank, scale: Scale, actors: ScaleActors, cluster: Cluster, *, from_owners: bool
    ) -> None:
        """`from_owners`: patches come from the actors, not from this process's own mapping of the bank."""
        self.missing: Counter[int] = Counter()
        self._bank = bank
        self._scale = scale
        self._held = actors.held
        self._replicas = [Replicas(handles) for handles in actors.replicas]
        self._first_rows = np.array(actors.first_rows, np.int64)
        self._cell_sizes = actors.cell_sizes
        self._owner = np.repeat(np.arange(len(actors.held)), [len(held) for held in actors.held])
        self._cluster = cluster
        self._from_owners = from_owners
        self._said: set[int] = set()
        self._look_again = [0.0] * len(actors.held)
        self._lock = threading.Lock()

    def search(self, unit_queries: np.ndarray, k: int) -> list[Neighbours]:
        queries = ray.put(unit_queries)  # once for all actors
        answers = self._of_shards("search", [(queries, k)] * len(self._held))
        with self._lock:
            for shard, answer in enumerate(answers):
                if answer is None:
                    self.missing[shard] += len(unit_queries)
        shape = len(unit_queries), k
        nothing = np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int64)
        return [nothing if answer is None else answer for answer in answers]

    def cell_sizes(self) -> list[np.ndarray]:
        return list(self._cell_sizes)

    def rows_at(self, cells: Sequence[np.ndarray], offsets: Sequence[np.ndarray]) -> list[np.ndarray]:
        asked = [([cells[at] for at in held], [offsets[at] for at in held]) for held in self._held]
        answers = self._of_shards("rows_at", asked)
        return [
            np.full(len(mine), -1, np.int64) if answer is None else answer
            for mine, answer in zip(cells, answers, strict=True)
        ]

    def fetch(self, rows: np.ndarray) -> np.ndarray:
        """Patches in the order of `rows`, int64 `[R]` -> uint8 `[R, size, size, 3]`: one request an owner.

        Raises:
            IndexError: a row number is outside the bank.
            UserError: an owner is lost and `on_missing_shard` is error.
        """
        if not self._from_owners:
            return self._bank.patches(self._scale, rows)
        total = self._bank.rows(self._scale)
        if len(rows) and (rows.min() < 0 or rows.max() >= total):
            raise IndexError(f"row numbers must be 0 to {total - 1}, got {rows.min()} to {rows.max()}")
        owner = self._owner[np.searchsorted(self._first_rows, rows, side="right") - 1]
        owners = np.unique(owner).tolist()
        places = [np.flatnonzero(owner == actor) for actor in owners]
        found = self._ask("patches", {actor: (rows[at],) for actor, at in zip(owners, places, strict=True)})
        patches = np.empty((len(rows), self._scale.size, self._scale.size, 3), np.uint8)
        for actor, at in zip(owners, places, strict=True):
            answer = found[actor]
            if isinstance(answer, NoAnswer):
                self._accept(self._held[actor][0], answer)
                # Pixels do not need the index: this process reads those of a lost owner itself.
                answer = self._bank.patches(self._scale, rows[at])
            patches[at] = answer
        return patches

    def _of_shards(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """One answer a shard, None for those that are lost; `arguments`: by actor."""
        found = self._ask(method, dict(enumerate(arguments)))
        damaged = [actor for actor, answer in found.items() if _damaged(answer)]
        again = {actor: arguments[actor] for actor in damaged if self._avoid_damaged(actor, found[actor])}
        found.update(self._ask(method, again))
        answers: list[Any] = []
        for actor, held in enumerate(self._held):
            answer = found[actor]
            answers += [answer] * len(held) if isinstance(answer, NoAnswer) else answer
        lost = [shard for shard, answer in enumerate(answers) if isinstance(answer, NoAnswer | UserError)]
        for shard in lost:
            self._accept(shard, answers[shard], can_be_skipped=len(lost) < len(answers))
            answers[shard] = None
        return answers

    def _ask(self, method: str, arguments: dict[int, tuple[Any, ...]]) -> dict[int, Any]:
        """By actor its answer, or the `NoAnswer` in the place of it."""
        asked = dict(arguments)
        if self._skips:
            asked = {actor: each for actor, each in asked.items() if not self._replicas[actor].lost}
        questions = [Question(self._replicas[actor], method, each) for actor, each in asked.items()]
        answers = dict(zip(asked, ask_all(questions, self._cluster.query_timeout), strict=True))
        return {actor: answers.get(actor, NoAnswer("has not come back")) for actor in arguments}

    def _avoid_damaged(self, actor: int, answer: list[Any]) -> bool:
        """From now on asks only replicas of an actor that have all of its shards; whether there are any."""
        handles = self._replicas[actor].handles
        with self._lock:
            if len(handles) == 1 or time.monotonic() < self._look_again[actor]:
                return False
            self._look_again[actor] = time.monotonic() + _LOOK_AGAIN_SECONDS
        loaded = ask_all(
            [Question(Replicas([handle]), "cell_sizes", ()) for handle in handles],
            self._cluster.query_timeout,
        )
        whole = [
            handle
            for handle, each in zip(handles, loaded, strict=True)
            if not isinstance(each, NoAnswer) and not _damaged(each)
        ]
        if not whole:
            return False
        with self._lock:
            self._replicas[actor] = Replicas(whole)
            self._look_again[actor] = 0.0
        why = next(each for each in answer if isinstance(each, UserError))
        log.warning(
            "scale %s: %d of %d replicas of an index actor answer for it alone: %s",
            self._scale,
            len(whole),
            len(handles),
            why,
        )
        return True

    @property
    def _skips(self) -> bool:
        return self._cluster.on_missing_shard == "skip"

    def _accept(self, shard: int, problem: NoAnswer | UserError, *, can_be_skipped: bool = True) -> None:
        """Goes on without a shard, or raises what is wrong with it."""
        where = f"scale {self._scale}, shard {shard + 1} of {len(self._owner)}"
        if isinstance(problem, NoAnswer):
            what = f"{where} {problem.why}"
            mend = "; look whether its node is alive and has room, raise cluster.query_timeout if it is slow"
        else:
            what, mend = f"{where} is lost: {problem}", ""
        if not self._skips:
            raise UserError(f"{what}{mend}, or set cluster.on_missing_shard to skip to do without its rows")
        if not can_be_skipped:
            raise UserError(f"{what} (no shard is left)")
        with self._lock:
            new = shard not in self._said
            self._said.add(shard)
        if new:
            log.warning("%s. Going on without it, as cluster.on_missing_shard says", what)


def _damaged(answer: Any) -> bool:
    """Whether it comes from an actor that could not load one of its shards."""
    return isinstance(answer, list) and any(isinstance(each, UserError) for each in answer)
