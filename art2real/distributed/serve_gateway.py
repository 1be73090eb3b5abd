"""The deployment that speaks HTTP. It loads neither torch nor FAISS, so it is there quickly and small."""

from __future__ import annotations

import os
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from art2real.distributed.serve_backend import DeployedBackend
from art2real.distributed.serve_metrics import GatewayMetrics
from art2real.serving.app import make_app
from art2real.serving.gate import Places
from art2real.serving.settings import TOKEN_VARIABLE, ServiceSettings


class Gateway:
    """Speaks HTTP; decodes and encodes in threads of its own."""

    def __init__(
        self, settings: ServiceSettings, translator: DeploymentHandle, explainer: DeploymentHandle | None
    ) -> None:
        self._settings = _with_token(settings)
        self._backend = DeployedBackend(translator, explainer)
        self._metrics = GatewayMetrics()
        self._places = Places(settings.max_waiting, self._metrics)

    def __serve_build_asgi_app__(self) -> Any:
        return make_app(self._backend, self._settings, self._metrics, self._places)

    async def close(self) -> None:
        """Admits no more requests, and waits for those admitted: Serve ends all deployments at once."""
        await self._places.close(self._settings.timeout_seconds)


def _with_token(settings: ServiceSettings) -> ServiceSettings:
    """A Serve configuration is no place for a secret: the node's environment is, where that has none."""
    token = os.environ.get(TOKEN_VARIABLE)
    if settings.token is not None or not token:
        return settings
    return ServiceSettings.model_validate({**settings.model_dump(), "token": token})


GATEWAY: Any = serve.deployment(serve.ingress()(Gateway))
