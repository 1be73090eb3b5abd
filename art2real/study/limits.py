"""How much is taken from one client: rate limits by token buckets, and bodies that are small and quick."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from art2real.pages.problem import Problem, wait
from art2real.study.problems import HEADERS, problem_of

MAX_BODY = 4096
"""Bytes of a request's body."""
_BODY_SECONDS = 10.0
_CLOSE = {"Connection": "close"}  # where a body was not read, its rest may follow


@dataclass(frozen=True)
class Rate:
    """A bucket: `burst` at once, and then `per_second` of them."""

    per_second: float
    burst: int


ADDRESS = Rate(100, 500)
"""Requests of one address: a class in one room has one."""
PARTICIPANT = Rate(10, 40)
ENROL = Rate(0.5, 40)
"""Enrolments of one address."""
WRONG_TOKEN = Rate(0.2, 20)
"""Wrong administrator's tokens of one address; after them not even the right one is looked at."""


class Limiter:
    """Token buckets by key; of more than `most` keys, those unused for longest are forgotten."""

    def __init__(
        self, rate: Rate, *, most: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str) -> float:
        """Takes one; the seconds to wait if there is none, else 0."""
        with self._lock:
            left = self._left(key)
            wait_for = 0.0 if left >= 1 else (1 - left) / self._rate.per_second
            self._buckets[key] = (left if wait_for else left - 1, self._clock())
            self._buckets.move_to_end(key)
            while len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        return wait_for

    def look(self, key: str) -> float:
        """The seconds that `take` would have to wait; takes nothing."""
        with self._lock:
            left = self._left(key)
        return 0.0 if left >= 1 else (1 - left) / self._rate.per_second

    def _left(self, key: str) -> float:
        left, then = self._buckets.get(key, (float(self._rate.burst), self._clock()))
        return min(self._rate.burst, left + (self._clock() - then) * self._rate.per_second)


def check(limiter: Limiter, key: str) -> None:
    """Takes one.

    Raises:
        Problem: 429, with the time to wait.
    """
    seconds = limiter.take(key)
    if seconds:
        raise too_many(seconds)


def too_many(seconds: float) -> Problem:
    return wait(429, "too_many_requests", "too many requests; try again later", seconds)


def address_of(scope: Scope) -> str:
    """Whom a request counts for: its address, of IPv6 the network of which one household has all."""
    host = (scope.get("client") or ("", 0))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), 64), strict=False).network_address)
    return host


class Door:
    """Around the application: bodies are read here, no exception passes, each answer gets `HEADERS`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            body = await _read_in_time(receive)
            if body is None:
                return  # the client has gone
            await self._app(scope, _again(body, receive), send_with_headers)
        except Exception as error:
            if not started:
                await problem_of(error).response()(scope, receive, send_with_headers)


async def _read_in_time(receive: Receive) -> bytes | None:
    try:
        return await asyncio.wait_for(_read(receive), _BODY_SECONDS)
    except asyncio.TimeoutError:
        raise Problem(408, "slow_body", "the request's body took too long to arrive", _CLOSE) from None


async def _read(receive: Receive) -> bytes | None:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise Problem(413, "too_many_bytes", f"a request has at most {MAX_BODY} bytes here", _CLOSE)
        if not message.get("more_body", False):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
