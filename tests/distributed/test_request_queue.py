from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from art2real.distributed import request_queue
from art2real.distributed.request_queue import RequestQueue


class Slow:
    """Work that sums up its queries and remembers what came together; it waits for `go`."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.together: list[tuple[list[int], int]] = []

    def __call__(self, requests: Sequence[np.ndarray], k: int) -> list[float]:
        self.go.wait(10)
        self.together.append(([len(request) for request in requests], k))
        if any(np.isnan(request).any() for request in requests):
            raise ValueError("not a number")
        return [float(request.sum()) * k for request in requests]


def ask(work: Slow, requests: Sequence[tuple[np.ndarray, int]]) -> list[Any]:
    """All answers, where all requests came while the first one was worked on."""

    async def run() -> list[Any]:
        queue = RequestQueue(work)
        asked = []
        for request in requests:
            asked.append(asyncio.ensure_future(queue.ask(*request)))
            await asyncio.sleep(0.01)
        work.go.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(run())


def rows(count: int, value: float = 1.0) -> np.ndarray:
    return np.full((count, 1), value, np.float32)


def test_requests_that_wait_are_answered_together_if_they_ask_for_as_many_neighbours() -> None:
    work = Slow()
    answers = ask(work, [(rows(1), 5), (rows(2), 5), (rows(3), 7), (rows(4), 5), (rows(5), 7)])
    assert answers == [5.0, 10.0, 21.0, 20.0, 35.0]
    assert work.together == [([1], 5), ([2, 4], 5), ([3, 5], 7)]


def test_a_search_has_a_bounded_number_of_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_queue, "_MOST_QUERIES", 10)
    work = Slow()
    ask(work, [(rows(1), 1), (rows(6), 1), (rows(5), 1), (rows(4), 1), (rows(30), 1)])
    assert work.together == [([1], 1), ([6, 4], 1), ([5], 1), ([30], 1)]


def test_what_goes_wrong_is_raised_for_those_it_concerns_and_the_queue_goes_on() -> None:
    work = Slow()
    answers = ask(work, [(rows(1), 1), (rows(2, np.nan), 1), (rows(3), 2)])
    assert answers[0] == 1.0
    assert isinstance(answers[1], ValueError)
    assert answers[2] == 6.0
