"""One JSON line a request, an identity for each, and its figures."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection
from datetime import datetime, timezone
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from art2real.errors import UserError
from art2real.serving.metrics import Metrics
from art2real.serving.trace import Trace, begin_trace

_log = logging.getLogger("art2real.serving")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_LONGEST_PATH = 500


class AccessLog:
    """A file that lines are added to: one write a line, so lines of several processes do not mix.

    Raises:
        UserError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise UserError(f"access log {path} cannot be written: {error.strerror or error}") from None

    def write(self, scope: Scope, trace: Trace) -> None:
        """The line of a request that has ended; all that a client chose is escaped to ASCII."""
        client = scope.get("client")
        line = {
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "request_id": trace.identity,
            "client": None if client is None else client[0],
            "method": scope["method"][:20],
            "path": scope["path"][:_LONGEST_PATH],  # without the query, where some put secrets
            "status": trace.status,
            "code": trace.code,
            "bytes_in": trace.received,
            "bytes_out": trace.sent,
            "ms": round(1000 * trace.seconds, 1),
            "stages_ms": {name: round(1000 * seconds, 1) for name, seconds in trace.stages.items()},
        }
        try:
            os.write(self._file, json.dumps(line).encode() + b"\n")
        except OSError as error:  # a full disk is no reason to refuse anybody
            _log.error("a line of the access log is lost: %s", error)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)


class Journal:
    """Outermost: it sees what was received and sent, whoever answered."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, access_log: AccessLog | None, routes: Collection[str]
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._access_log = access_log
        self._routes = frozenset(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = begin_trace(scope, self._metrics)

        async def receive_counted() -> Message:
            message = await receive()
            trace.received += len(message.get("body", b""))
            return message

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                trace.status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = trace.identity
            await send(message)
            trace.sent += len(message.get("body", b""))

        try:
            await self._app(scope, receive_counted, send_counted)
        finally:
            route = scope["path"] if scope["path"] in self._routes else "other"
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.request(route, method, trace.status, trace.seconds)
            if self._access_log is not None:
                self._access_log.write(scope, trace)
