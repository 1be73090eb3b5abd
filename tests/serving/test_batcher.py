"""Joining requests into batches of one size."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from art2real.serving.batcher import Batcher


class Work:
    """Doubles numbers; the first batch waits until it may go on, so that others gather behind it."""

    def __init__(self):
        self.batches = []
        self.go_on = threading.Event()

    def __call__(self, key, items):
        self.batches.append((key, list(items)))
        assert self.go_on.wait(10)
        if "bad" in items:
            raise ValueError("bad item")
        return [item * 2 for item in items]


def run(scenario, largest=3):
    work = Work()

    async def main():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(work, executor, largest=lambda key: largest)
            try:
                return await asyncio.wait_for(scenario(batcher, work), 20)
            finally:
                work.go_on.set()

    return asyncio.run(main()), work.batches


async def gathered(batcher, work, asked):
    """Asks in order, lets the first batch wait for all others, and returns the answers."""
    tasks = []
    for key, item in asked:
        tasks.append(asyncio.create_task(batcher.submit(key, item)))
        await asyncio.sleep(0.01)
    work.go_on.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_what_waits_is_joined_by_key_oldest_first():
    asked = [("a", 0), ("a", 1), ("b", 2), ("a", 3), ("b", 4)]
    answers, batches = run(lambda batcher, work: gathered(batcher, work, asked))
    assert answers == [0, 2, 4, 6, 8]
    assert batches == [("a", [0]), ("a", [1, 3]), ("b", [2, 4])]


def test_a_batch_has_a_largest_size_and_the_rest_lets_others_go_first():
    asked = [("a", 0)] + [("a", each) for each in range(1, 5)] + [("b", 9)]
    answers, batches = run(lambda batcher, work: gathered(batcher, work, asked), largest=2)
    assert answers == [0, 2, 4, 6, 8, 18]
    assert batches == [("a", [0]), ("a", [1, 2]), ("b", [9]), ("a", [3, 4])]


def test_an_error_reaches_those_of_its_batch_alone():
    asked = [("a", 1), ("b", "bad"), ("b", 2), ("c", 3)]
    answers, _ = run(lambda batcher, work: gathered(batcher, work, asked))
    assert answers[0] == 2
    assert answers[3] == 6
    for answer in answers[1:3]:
        assert isinstance(answer, ValueError)


def test_who_went_away_is_not_computed():
    async def scenario(batcher, work):
        first = asyncio.create_task(batcher.submit("a", 1))
        await asyncio.sleep(0.01)
        gone, stays = (asyncio.create_task(batcher.submit("a", each)) for each in (2, 3))
        await asyncio.sleep(0.01)
        gone.cancel()
        work.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return await first, await stays

    answers, batches = run(scenario)
    assert answers == (2, 6)
    assert batches == [("a", [1]), ("a", [3])]


def test_it_goes_on_after_a_pause_and_after_an_error():
    async def scenario(batcher, work):
        work.go_on.set()
        with pytest.raises(ValueError, match="bad item"):
            await batcher.submit("a", "bad")
        await asyncio.sleep(0.01)
        return await batcher.submit("a", 4)

    assert run(scenario)[0] == 8
