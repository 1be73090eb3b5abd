"""What is known of one request while it is answered."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.types import Scope

from art2real.serving.metrics import Metrics, Stage

_ID = re.compile(r"[0-9A-Za-z-]{16,64}")


@dataclass
class Trace:
    """Name, start and stages of a request."""

    metrics: Metrics
    identity: str
    started: float = field(default_factory=time.perf_counter)
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds each stage took."""
    code: str | None = None
    """Of the error it was answered with."""
    received: int = 0
    """Bytes of the body that were read."""
    sent: int = 0
    status: int = 499
    """Of the answer; 499, as nginx has it, while there is none: the client may go before."""

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = seconds = time.perf_counter() - begun
            self.metrics.stage(name, seconds)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def server_timing(self) -> str:
        """The stages as a `Server-Timing` header has them, in milliseconds."""
        return ", ".join(f"{name};dur={1000 * seconds:.1f}" for name, seconds in self.stages.items())


def begin_trace(scope: Scope, metrics: Metrics) -> Trace:
    """The trace of a request that has just come.

    A proxy before the service may have named the request; a name that could be anything is replaced.
    """
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    trace = Trace(metrics, given if _ID.fullmatch(given) else secrets.token_hex(16))
    scope.setdefault("state", {})["trace"] = trace
    return trace


def trace_of(scope: Scope) -> Trace:
    return scope["state"]["trace"]
