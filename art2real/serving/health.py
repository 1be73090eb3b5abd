"""Whether the model answers, asked for by many and found out once."""

from __future__ import annotations

import asyncio
import logging
import time

from art2real.serving.backend import Backend, Busy
from art2real.serving.problems import try_again

_log = logging.getLogger("art2real.serving")
_FRESH_SECONDS = 1.0


class Readiness:
    """Goes through the model; whoever asks at the same time, or just after, gets the same answer."""

    def __init__(self, backend: Backend, seconds: float) -> None:
        self._backend = backend
        self._seconds = seconds
        self._asking: asyncio.Task[bool] | None = None
        self._answer = (float("-inf"), False)

    async def check(self) -> None:
        """
        Raises:
            Problem: 503, the model did not answer.
        """
        when, ready = self._answer
        if time.monotonic() - when > _FRESH_SECONDS:
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask())
            # Who goes away while waiting must not spoil it for the others.
            ready = await asyncio.shield(self._asking)
        if not ready:
            raise try_again("unavailable", "the model is not ready", 5)

    async def _ask(self) -> bool:
        try:
            await asyncio.wait_for(self._backend.probe(), self._seconds)
            ready = True
        except Busy:
            ready = True  # it has all hands full: that is no reason to send nobody here any more
        except Exception as error:
            _log.warning("the model is not ready: %s", str(error) or type(error).__name__)
            ready = False
        finally:
            self._asking = None
        self._answer = (time.monotonic(), ready)
        return ready
