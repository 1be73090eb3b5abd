"""Who gets in: the right token, a body that is not too large, a free place. All before the body is read."""

from __future__ import annotations

import asyncio
import hmac
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from art2real.pages.problem import Problem
from art2real.serving.body import FORM_ROOM, is_form
from art2real.serving.metrics import Metrics
from art2real.serving.problems import try_again
from art2real.serving.settings import ServiceSettings

OPEN = ("/", "/openapi.json", "/health/live", "/health/ready")
"""Paths that ask for no token."""
_LOOK_SECONDS = 0.05


class Places:
    """How many requests are admitted; none any more once the service is closing."""

    def __init__(self, most: int, metrics: Metrics) -> None:
        self._most = most
        self._metrics = metrics
        self._taken = 0
        self._closing = False

    def take(self) -> None:
        """Admits a request.

        Raises:
            Problem: 503, there is no place.
        """
        if self._closing:
            raise try_again("unavailable", "the service is stopping; try again later", 5)
        if self._taken >= self._most:
            raise try_again("busy", "too many requests are waiting; try again later", 1)
        self._count(1)

    def leave(self) -> None:
        self._count(-1)

    async def close(self, seconds: float) -> None:
        """Admits no more, and waits until those admitted have their answers, at most so long."""
        self._closing = True
        end = time.monotonic() + seconds
        while self._taken and time.monotonic() < end:
            await asyncio.sleep(_LOOK_SECONDS)

    def _count(self, change: int) -> None:
        self._taken += change
        self._metrics.waiting(self._taken)


class Gate:
    """Checks a request by its head alone."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings, places: Places) -> None:
        self._app = app
        self._settings = settings
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self._settings.token is not None and scope["path"] not in OPEN:
            _check_token(headers, self._settings.token.get_secret_value())
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        _check_length(headers, self._settings.max_bytes)
        self._places.take()
        try:
            # The place is kept until the client has taken the answer: answers take memory too.
            await self._app(scope, receive, send)
        finally:
            self._places.leave()


def _check_token(headers: Headers, token: str) -> None:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    right = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
    if scheme.lower() != "bearer" or not right:
        words = "this service asks for a token: send the header Authorization: Bearer TOKEN"
        raise Problem(401, "unauthorized", words, {"WWW-Authenticate": "Bearer"})


def _check_length(headers: Headers, max_bytes: int) -> None:
    declared = headers.get("content-length")
    if declared is None:
        return
    if not declared.isascii() or not declared.isdigit():
        raise Problem(400, "bad_request", "Content-Length is not a number")
    if len(declared) > 18 or int(declared) > max_bytes + (FORM_ROOM if is_form(headers) else 0):
        raise Problem(
            413, "too_many_bytes", f"the image has more than {max_bytes} bytes, which this service takes"
        )
