"""Requests that arrive while others are worked on wait, and are then answered together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

# Queries of one search: bounds its memory, and how long a request waits for those that came with it.
_MOST_QUERIES = 16_384

Work = Callable[[Sequence[np.ndarray], int], Sequence[Any]]
"""Answers requests for the same number of neighbours, one answer a request."""


@dataclass
class _Request:
    queries: np.ndarray
    k: int
    answer: asyncio.Future[Any]


class RequestQueue:
    """Hands requests to a thread of their own, as many at once as wait for the same number of neighbours."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._waiting: list[_Request] = []
        self._working: asyncio.Task[None] | None = None

    async def ask(self, queries: np.ndarray, k: int) -> Any:
        """The answer to `queries` `[N, D]`; what the work raises is raised for all of its requests."""
        loop = asyncio.get_running_loop()
        request = _Request(queries, k, loop.create_future())
        self._waiting.append(request)
        if self._working is None:
            self._working = loop.create_task(self._work_off())
        return await request.answer

    async def _work_off(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            taken = self._take()
            queries = [request.queries for request in taken]
            try:
                answers = await loop.run_in_executor(self._thread, self._work, queries, taken[0].k)
            except Exception as error:
                for request in taken:
                    request.answer.set_exception(error)
            else:
                for request, answer in zip(taken, answers, strict=True):
                    request.answer.set_result(answer)
        self._working = None

    def _take(self) -> list[_Request]:
        """The request that waits longest, and those that can be answered with it."""
        taken, left, queries = [self._waiting[0]], [], len(self._waiting[0].queries)
        for request in self._waiting[1:]:
            if request.k == taken[0].k and queries + len(request.queries) <= _MOST_QUERIES:
                taken.append(request)
                queries += len(request.queries)
            else:
                left.append(request)
        self._waiting = left
        return taken
