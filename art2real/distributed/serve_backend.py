"""How the gateway asks the other deployments."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
from ray.exceptions import ActorDiedError, ActorUnavailableError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from art2real.serving.backend import Busy, Unavailable

_ATTEMPTS = 5
_PAUSE = 0.2
"""Seconds, doubled each time: a replica that died is back, or replaced, within a few."""
_RETRY_AFTER = 2.0
_NAMES_SECONDS = 2.0
"""How long the names of the models are remembered: every request asks for them."""


class DeployedBackend:
    """Implements `art2real.serving.backend.Backend`.

    A replica that dies takes the requests with it that it had. A translation changes nothing, so they are
    asked again of another one.
    """

    def __init__(self, translator: DeploymentHandle, explainer: DeploymentHandle | None) -> None:
        self._translator = translator
        self._explainer = explainer
        self._names: list[str] = []
        self._names_until = 0.0

    @property
    def explains(self) -> bool:
        return self._explainer is not None

    async def names(self) -> list[str]:
        if time.monotonic() > self._names_until:
            self._names = await _ask(self._translator.names)
            self._names_until = time.monotonic() + _NAMES_SECONDS
        return self._names

    async def translate(self, model: str, pixels: np.ndarray) -> np.ndarray:
        result: np.ndarray = await _ask(self._translator.translate, model, pixels)
        return result

    async def explain(self, model: str, pixels: np.ndarray, *, pictures: bool) -> dict[str, Any]:
        assert self._explainer is not None
        found: dict[str, Any] = await _ask(self._explainer.explain, pixels, pictures)
        return found

    async def probe(self) -> None:
        await _ask(self._translator.probe)


async def _ask(method: Any, *arguments: Any) -> Any:
    for attempt in range(1, _ATTEMPTS + 1):
        response = method.remote(*arguments)
        try:
            return await response
        except asyncio.CancelledError:
            response.cancel()  # who asked went away, or ran out of time
            raise
        except BackPressureError:
            raise Busy(_RETRY_AFTER) from None
        except DeploymentUnavailableError:
            raise Unavailable("the model cannot be started; the service's log says why") from None
        except (ActorDiedError, ActorUnavailableError) as error:
            if attempt == _ATTEMPTS:
                raise Unavailable(f"the model's process died {attempt} times: {error}") from None
            await asyncio.sleep(_PAUSE * 2 ** (attempt - 1))
    raise AssertionError
