"""Many participants at once who go on whatever happens to the server, and remember what it acknowledged."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from random import Random

import httpx

from art2real.study.answers import Answer
from art2real.study.design import Design
from art2real.study.schedule import schedule
from tests.study.studies import bearer


class Crowd:
    """Participants in a thread of their own, each of whom answers all positions.

    Whatever is not acknowledged is sent again as it was, to any of the servers. Some participants have two
    tabs: all that they send is sent twice at the same moment.
    """

    def __init__(self, tokens: dict[int, str], ports: list[int]) -> None:
        self.acknowledged: dict[tuple[int, int], tuple[str, int]] = {}
        """Choice and reaction time by participant and position."""
        self.failures: list[str] = []
        self.lost = 0
        """Requests that got no answer, or one that asks to come again."""
        self._tokens = tokens
        self._ports = ports
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait_for(self, answers: int, seconds: float = 60) -> None:
        """Until so many were acknowledged, or all are done."""
        until = time.monotonic() + seconds
        while len(self.acknowledged) < answers and self._thread.is_alive() and not self.failures:
            assert time.monotonic() < until, f"{len(self.acknowledged)} answers, {self.lost} lost"
            time.sleep(0.002)

    def finish(self, seconds: float = 60) -> None:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"{len(self.acknowledged)} answers, {self.lost} lost"
        assert self.failures == []

    async def _all(self) -> None:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(limits=limits, timeout=10) as client:
            await asyncio.gather(*(self._one(client, number) for number in self._tokens))

    async def _one(self, client: httpx.AsyncClient, number: int) -> None:
        random = Random(number)
        state = await self._ask(client, random, number, "/api/consent", {"language": "en"})
        while state is not None and not state["finished"]:
            entry = state["upcoming"][0]
            body = {
                "position": entry["position"],
                "secret": entry["secret"],
                "choice": random.choice(["left", "right"]),
                "reaction_ms": random.randrange(300, 9000),
            }
            tabs = 2 if number % 3 == 0 else 1
            told = await asyncio.gather(
                *(self._ask(client, random, number, "/api/answer", body) for _ in range(tabs))
            )
            state = told[0]
            if any(each != state for each in told):
                self.failures.append(f"two tabs of {number} were told different things: {told}")
            self.acknowledged[number, entry["position"]] = body["choice"], body["reaction_ms"]
            await asyncio.sleep(random.uniform(0, 0.05))

    async def _ask(self, client, random, number, path, body):
        while True:
            url = f"http://127.0.0.1:{random.choice(self._ports)}{path}"
            try:
                response = await client.post(url, json=body, headers=bearer(self._tokens[number]))
            except httpx.TransportError:
                self.lost += 1
                await asyncio.sleep(random.uniform(0.2, 0.5))
                continue
            if response.status_code in (429, 503):
                self.lost += 1
                await asyncio.sleep(1)
                continue
            if response.status_code != 200:
                self.failures.append(f"{number}: {response.status_code} {response.text}")
                return None
            return response.json()


def check_kept(acknowledged: dict[tuple[int, int], tuple[str, int]], answers: list[Answer], design: Design):
    """That no acknowledged answer is lost or changed, and none is there twice or out of its place."""
    places = [(answer.participant, answer.position) for answer in answers]
    assert len(set(places)) == len(places), "an answer is there twice"
    kept = {(a.participant, a.position): (a.choice, a.reaction_ms) for a in answers}
    lost = {place: told for place, told in acknowledged.items() if kept.get(place) != told}
    assert not lost, f"acknowledged and not stored, or otherwise: {lost}"
    orders = {answer.participant: schedule(design, answer.participant) for answer in answers}
    for answer in answers:
        shown = orders[answer.participant][answer.position]
        side = shown.left if answer.choice == "left" else shown.right
        assert (answer.trial, answer.chosen) == (shown.trial.id, side.file)
        assert answer.position == 0 or (answer.participant, answer.position - 1) in kept


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]
