"""Core-seconds of a piece of work.

What one core does is measured as processor time on one thread, so that neither other work on the machine nor
threads that wait for one another are counted. What all cores do together is measured as time on the wall:
cores that share a unit, as that for bfloat16, are together hardly faster than one of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

# A measurement ends with the round in which it has lasted this long.
_LIMIT = 12.0


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def all_cores() -> float:
    """A clock for work that all cores do together: what one waits for is taken from the others too."""
    return time.perf_counter() * cores()


def taken(
    work: Callable[[], object], rounds: int, clock: Callable[[], float] = time.process_time
) -> list[float]:
    """Core-seconds of each round, after a first one that is not counted.

    Args:
        rounds: at most; fewer where they take long. clock: `all_cores`, or `time.perf_counter` where a GPU
            does the work.
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
