"""Joins what waits for the model into batches of one size."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[Item, Result]):
    item: Item
    answer: asyncio.Future[Result]


class Batcher(Generic[Item, Result]):
    """Whoever asks while the model computes is answered together with the others of the same key.

    Nothing waits for a batch to fill: when the model is free it takes what is there, the key that has waited
    longest first. So a single request is not delayed, and batches grow with the load by themselves. Requests
    whose askers went away are dropped before they are computed.
    """

    def __init__(
        self,
        work: Callable[[Hashable, Sequence[Item]], Sequence[Result]],
        executor: Executor,
        *,
        largest: Callable[[Hashable], int],
    ) -> None:
        """
        Args:
            work: the results of the items of one key, in their order; it runs in `executor`, one at a time.
            executor: whose threads compute.
            largest: most items of a key in one batch, at least 1.
        """
        self._work = work
        self._executor = executor
        self._largest = largest
        # Keys in the order in which their oldest item came.
        self._queues: OrderedDict[Hashable, deque[_Waiting[Item, Result]]] = OrderedDict()
        self._running: asyncio.Task[None] | None = None

    async def submit(self, key: Hashable, item: Item) -> Result:
        """The result of one item. What `work` raises is raised for each of its batch."""
        waiting: _Waiting[Item, Result] = _Waiting(item, asyncio.get_running_loop().create_future())
        self._queues.setdefault(key, deque()).append(waiting)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await waiting.answer

    async def _run(self) -> None:
        try:
            while self._queues:
                key, batch = self._next()
                if batch:
                    await self._answer(key, batch)
        finally:
            self._running = None

    def _next(self) -> tuple[Hashable, list[_Waiting[Item, Result]]]:
        """The batch of the key that has waited longest; the rest of that key goes to the end of the line."""
        key, queue = self._queues.popitem(last=False)
        batch: list[_Waiting[Item, Result]] = []
        while queue and len(batch) < self._largest(key):
            waiting = queue.popleft()
            if not waiting.answer.done():
                batch.append(waiting)
        if queue:
            self._queues[key] = queue
        return key, batch

    async def _answer(self, key: Hashable, batch: list[_Waiting[Item, Result]]) -> None:
        loop = asyncio.get_running_loop()
        items = [waiting.item for waiting in batch]
        try:
            results = await loop.run_in_executor(self._executor, self._work, key, items)
            for waiting, result in zip(batch, results, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(result)
        except Exception as error:  # whatever it is, it belongs to those who asked
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
