"""Everything that goes wrong becomes `{"error": {"code", "message"}}`, and says nothing of the inside."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from art2real.data.images import BadImage
from art2real.pages.problem import HEADERS, Problem, wait
from art2real.serving.backend import Busy, Unavailable, UnknownModel
from art2real.serving.trace import trace_of

_log = logging.getLogger("art2real.serving")

CODES = {
    400: ("bad_request", "empty", "not_an_image", "damaged", "truncated", "too_small", "bad_form"),
    401: ("unauthorized",),
    404: ("not_found", "no_bank"),
    405: ("method_not_allowed",),
    408: ("slow_body",),
    413: ("too_many_bytes", "too_many_pixels"),
    415: ("unsupported_type",),
    422: ("wrong_parameter", "unknown_model"),
    500: ("internal",),
    503: ("busy", "timeout", "unavailable"),
}
"""The codes of each status."""

_NAMES_SHOWN = 20


def try_again(code: str, message: str, seconds: float) -> Problem:
    """503 with the whole seconds after which to come again."""
    return wait(503, code, message, seconds)


def no_such_model(name: str, names: Sequence[str]) -> Problem:
    known = ", ".join(names[:_NAMES_SHOWN])
    return Problem(422, "unknown_model", f"no model is called {name[:100]!r}; there are: {known}")


def problem_of(error: Exception) -> Problem:
    """The answer that tells a client of an exception."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, BadImage):
        status = 413 if error.cause in ("too_many_bytes", "too_many_pixels") else 400
        return Problem(status, error.cause, f"the image cannot be used: {error.detail}")
    if isinstance(error, Busy):
        return try_again("busy", "too many requests are waiting; try again later", error.retry_after)
    if isinstance(error, UnknownModel):
        return Problem(422, "unknown_model", f"no model is called {error.name[:100]!r} any more")
    if isinstance(error, Unavailable):
        _log.warning("the model is not available: %s", error.detail)
        return try_again("unavailable", "the model is not available at the moment; try again later", 5)
    _log.error("a request failed", exc_info=error)
    return Problem(500, "internal", "the service failed on this request; the failure was logged")


def http_problem(status: int, path_and_method: str, headers: Mapping[str, str] | None) -> Problem:
    """What the router says: there is no such path, or it takes another method."""
    if status == 404:
        return Problem(404, "not_found", "there is nothing at this address; see /openapi.json")
    if status == 405:
        return Problem(405, "method_not_allowed", f"{path_and_method} is not possible; see Allow", headers)
    return Problem(status, "bad_request", "the request cannot be read", headers)


def parameter_problem(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """What is wrong with the query's parameters."""
    said = [f"{str(error['loc'][-1])[:50]!r}: {error['msg']}" for error in errors[:_NAMES_SHOWN]]
    return Problem(422, "wrong_parameter", "query parameter " + "; ".join(said))


class Shell:
    """Around everything that answers: no exception passes, and each answer gets `HEADERS`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_safely(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_safely)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except Exception as error:
            problem = problem_of(error)
            trace_of(scope).code = problem.code
            if started:
                return  # an answer that ends too early: the server closes the connection
            await problem.response()(scope, receive, send_safely)
