"""Everything that goes wrong becomes `{"error": {"code", "message"}}`, and says nothing of the inside."""

from __future__ import annotations

import logging

from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from art2real.pages.problem import HEADERS as COMMON
from art2real.pages.problem import Problem, wait
from art2real.study.store import AlreadyAnswered, OutOfOrder

_log = logging.getLogger("art2real.study")

HEADERS = {**COMMON, "X-Robots-Tag": "noindex"}
"""Of every answer that has no others of these names."""


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
