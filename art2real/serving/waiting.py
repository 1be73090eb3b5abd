"""Waiting for work, and for clients, no longer than they deserve."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from art2real.pages.problem import Problem
from art2real.serving.backend import Unavailable
from art2real.serving.problems import try_again

# Larger answers are sent in pieces: a server holds a whole piece for a client that does not take it.
_PIECE = 2**18

T = TypeVar("T")


async def body_in_time(work: Coroutine[Any, Any, T], seconds: float) -> T:
    """A body, if it arrives in time.

    Raises:
        Problem: 408; the rest of such a body is not waited for.
    """
    try:
        return await asyncio.wait_for(work, seconds)
    except asyncio.TimeoutError:
        words = f"the body did not arrive within {seconds:g} s"
        raise Problem(408, "slow_body", words, {"Connection": "close"}) from None


async def done_in_time(work: Coroutine[Any, Any, T], receive: Receive, seconds: float) -> T:
    """The result of work, which is cancelled when it takes too long or the client goes away.

    Args:
        receive: of a request whose body has been read.

    Raises:
        Problem: 503, it took too long.
        ClientDisconnect: nobody waits for it any more.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_gone(receive))
    for task in (working, watching):
        task.add_done_callback(_heard)
    try:
        await asyncio.wait((working, watching), timeout=max(0, seconds), return_when=asyncio.FIRST_COMPLETED)
        if working.cancelled():
            raise Unavailable("the work was cancelled from below")
        if working.done():
            return working.result()
        if watching.done():
            raise ClientDisconnect
        raise try_again("timeout", "there was no answer in time; try again later", 5)
    finally:
        working.cancel()
        watching.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _heard(task: asyncio.Future[Any]) -> None:
    """Nobody may wait for a cancelled task any more, so its failure is looked at here."""
    if not task.cancelled():
        task.exception()


class Pieces(Response):
    """An answer that is sent as the client takes it, for at most `seconds`."""

    def __init__(self, content: bytes, media_type: str, headers: dict[str, str], *, seconds: float) -> None:
        super().__init__(content, 200, headers, media_type)
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.wait_for(self._send(send), self._seconds)
        except asyncio.TimeoutError:
            raise ClientDisconnect from None  # who does not take the answer is as good as gone

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = bytes(self.body)
        for begin in range(0, len(body), _PIECE):
            more = begin + _PIECE < len(body)
            await send(
                {"type": "http.response.body", "body": body[begin : begin + _PIECE], "more_body": more}
            )
