"""Answers of our HTTP services that are errors: `{"error": {"code", "message"}}`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from starlette.responses import Response

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Of every answer that has no others of these names."""


class Problem(Exception):  # noqa: N818 - it becomes an answer
    """An answer that is an error."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    def response(self) -> Response:
        content = json.dumps({"error": {"code": self.code, "message": self.message}})
        return Response(content, self.status, self.headers, "application/json")


def wait(status: int, code: str, message: str, seconds: float) -> Problem:
    """With the whole seconds after which to come again."""
    return Problem(status, code, message, {"Retry-After": str(max(1, math.ceil(seconds)))})
