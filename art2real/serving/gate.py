"""Who gets in: the right token, a body that is not too large, a free place. All before the body is read."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from art2real.serving.body import FORM_ROOM, is_form
from art2real.serving.metrics import Metrics
from art2real.serving.problems import Problem, try_again
from art2real.serving.settings import ServiceSettings

OPEN = ("/", "/openapi.json", "/health/live", "/health/ready")
"""Paths that ask for no token."""


class Gate:
    """Checks a request by its head alone."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._admitted = 0

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
        if self._admitted >= self._settings.max_waiting:
            raise try_again("busy", "too many requests are waiting; try again later", 1)
        self._count(1)
        try:
            # The place is kept until the client has taken the answer: answers take memory too.
            await self._app(scope, receive, send)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self._admitted += change
        self._metrics.waiting(self._admitted)


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
