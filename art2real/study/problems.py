"""Everything that goes wrong becomes `{"error": {"code", "message"}}`, and says nothing of the inside."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping

from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from art2real.study.store import AlreadyAnswered, OutOfOrder

_log = logging.getLogger("art2real.study")

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
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


def problem_of(error: Exception) -> Problem:
    """The answer that tells a client of an exception."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, AlreadyAnswered):
        return Problem(409, "already_answered", "this position has another answer, which stands")
    if isinstance(error, OutOfOrder):
        return Problem(409, "out_of_order", f"positions are answered in order; the next is {error.position}")
    if isinstance(error, HTTPException):
        return _of_route(error)
    if isinstance(error, RequestValidationError):
        said = [f"{_place(each['loc'])}: {each['msg']}" for each in error.errors()[:5]]
        return Problem(422, "wrong_request", "; ".join(said)[:500])
    if isinstance(error, SQLAlchemyError):
        _log.error("the database failed: %s", str(error).splitlines()[0])
        return wait(503, "unavailable", "answers cannot be stored at the moment; try again", 2)
    _log.error("a request failed", exc_info=error)
    return Problem(500, "internal", "the server failed on this request; the failure was logged")


async def answer_with(request: Request, error: Exception) -> Response:
    """As a handler of exceptions."""
    return problem_of(error).response()


def _of_route(error: HTTPException) -> Problem:
    if error.status_code == 404:
        return Problem(404, "not_found", "there is nothing at this address")
    if error.status_code == 405:
        return Problem(
            405, "method_not_allowed", "this address takes another method; see Allow", error.headers
        )
    return Problem(error.status_code, "bad_request", "the request cannot be read", error.headers)


def _place(where: tuple[str | int, ...]) -> str:
    # The name of the field; of what the client sent nothing is sent back.
    return ".".join(str(part)[:50] for part in where[1:]) or "body"
