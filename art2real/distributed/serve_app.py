"""The HTTP service as a Ray Serve application: `art2real-cli serve`, and `configs/serve.yaml` for clusters.

Gateway (HTTP, limits, decoding and encoding) -> Translator (the models) and Explainer (bank and index). They
are apart so that a model's replica never waits for a JPEG, and each has as many replicas as it needs.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig

from art2real.distributed.serve_explainer import Explainer
from art2real.distributed.serve_gateway import GATEWAY
from art2real.distributed.serve_translator import Translator
from art2real.serving.settings import ServiceSettings

APPLICATION = "art2real"
_HEADROOM = 64
"""Requests beyond those admitted that a gateway takes, so as to refuse them in the contract's words."""


class ServeArguments(BaseModel):
    """What the application is built from: `args` in `configs/serve.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: dict[str, str] = Field(
        default_factory=dict,
        description="checkpoints by name, the first is the default; here or in the Translator's user_config",
    )
    bank: str | None = Field(None, description="memory bank with its index, for the sources of pictures")
    service: ServiceSettings = ServiceSettings()
    gateways: int = Field(1, ge=1, description="processes that speak HTTP, decode and encode")
    min_replicas: int = Field(1, ge=1, description="least replicas of the models")
    max_replicas: int = Field(1, ge=1, description="most replicas of the models")
    cpus: int = Field(1, ge=1, description="CPUs, and threads, of a replica of the models")
    gpus: float = Field(0, ge=0, description="GPUs of a replica of the models; a fraction shares one")
    batch_pixels: int = Field(
        2**19, ge=1, description="most pixels translated in one pass, where more than one picture is"
    )

    @model_validator(mode="after")
    def _in_order(self) -> ServeArguments:
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas {self.max_replicas} is below min_replicas {self.min_replicas}")
        return self


def build(args: ServeArguments | dict[str, Any]) -> Application:
    """The application, for `serve.run` and as the `import_path` of a Serve configuration, with its `args`."""
    arguments = ServeArguments.model_validate(args)
    waiting = arguments.service.max_waiting
    patience = arguments.service.timeout_seconds
    translator = serve.deployment(
        Translator,
        ray_actor_options={"num_cpus": arguments.cpus, "num_gpus": arguments.gpus},
        # What is asked of a replica waits inside of it, where it can be joined into batches.
        max_ongoing_requests=waiting + _HEADROOM,
        graceful_shutdown_timeout_s=patience,
        autoscaling_config=AutoscalingConfig(
            min_replicas=arguments.min_replicas,
            max_replicas=arguments.max_replicas,
            target_ongoing_requests=max(2.0, waiting / 8),
        ),
        user_config={"models": dict(arguments.models)},
    ).bind(
        arguments.batch_pixels,
        arguments.cpus,
        # Who claims no GPU sees those of others.
        "cuda" if arguments.gpus else "cpu",
    )
    explainer = None
    if arguments.bank is not None:
        explainer = serve.deployment(
            Explainer, ray_actor_options={"num_cpus": 1}, max_ongoing_requests=waiting
        ).bind(arguments.bank, arguments.cpus)
    gateway = GATEWAY.options(
        num_replicas=arguments.gateways,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=waiting + _HEADROOM,
        graceful_shutdown_timeout_s=patience,
    )
    return gateway.bind(arguments.service, translator, explainer)
