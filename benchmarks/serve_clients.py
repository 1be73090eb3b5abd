"""Clients of the HTTP service: so many at a time, or so many a second whatever the answers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None)


@dataclass
class Answers:
    """What came back."""

    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    """By HTTP status, or the name of what went wrong without an answer."""
    latencies: list[float] = field(default_factory=list)
    """Of the answers with 200."""

    @property
    def good(self) -> int:
        return self.statuses["200"]

    def quantile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def _ask(client: httpx.AsyncClient, path: str, body: bytes, answers: Answers) -> None:
    begun = time.perf_counter()
    try:
        response = await client.post(path, content=body)
    except httpx.HTTPError as error:
        answers.statuses[type(error).__name__] += 1
        return
    answers.statuses[str(response.status_code)] += 1
    if response.status_code == 200:
        answers.latencies.append(time.perf_counter() - begun)


def concurrently(
    url: str, path: str, body: bytes, *, clients: int, requests: int, during: Callable[[], None] | None = None
) -> Answers:
    """`clients` that each send their next request when the last one is answered, `requests` in all.

    `during` is called in a thread when a quarter of them is answered.
    """

    async def run() -> Answers:
        answers = Answers()
        left = iter(range(requests))
        async with httpx.AsyncClient(base_url=url, timeout=120, limits=_LIMITS) as client:

            async def work() -> None:
                for _ in left:
                    await _ask(client, path, body, answers)

            async def disturb() -> None:
                while during is not None and answers.good < requests // 4:
                    await asyncio.sleep(0.01)
                if during is not None:
                    await asyncio.to_thread(during)

            begun = time.perf_counter()
            await asyncio.gather(disturb(), *(work() for _ in range(clients)))
            answers.seconds = time.perf_counter() - begun
        return answers

    return asyncio.run(run())


def at_rate(url: str, path: str, body: bytes, *, rate: float, seconds: float) -> Answers:
    """Sends `rate` requests a second for `seconds`, whether the ones before are answered or not."""

    async def run() -> Answers:
        answers = Answers()
        async with httpx.AsyncClient(base_url=url, timeout=120, limits=_LIMITS) as client:
            begun = time.perf_counter()
            tasks = []
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
                tasks.append(asyncio.create_task(_ask(client, path, body, answers)))
            await asyncio.gather(*tasks)
            answers.seconds = time.perf_counter() - begun
        return answers

    return asyncio.run(run())
