"""Core-seconds of a piece of work: processor time on one thread, so that neither other work on the machine
nor threads that wait for one another are counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

# A measurement ends with the round in which it has lasted this long.
_LIMIT = 12.0


def taken(
    work: Callable[[], object], rounds: int, clock: Callable[[], float] = time.process_time
) -> list[float]:
    """Core-seconds of each round, after a first one that is not counted.

    Args:
        rounds: at most; fewer where they take long. clock: `time.perf_counter` where a GPU does the work.
    """
    work()
    seconds: list[float] = []
    until = time.perf_counter() + _LIMIT
    while len(seconds) < rounds and (not seconds or time.perf_counter() < until):
        began = clock()
        work()
        seconds.append(max(clock() - began, 1e-9))
    return seconds


@contextmanager
def one_thread() -> Iterator[None]:
    """While it lasts, torch, FAISS and NumPy work on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
