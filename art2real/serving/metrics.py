"""What the HTTP service measures, for whoever collects it."""

from __future__ import annotations

from typing import Literal, Protocol

Stage = Literal["read", "decode", "translate", "explain", "encode"]


class Metrics(Protocol):
    """Where figures go. Called on the event loop, so nothing in it may wait."""

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request has ended. `route` and `method` are from a short list, or `other`; status 499 says that
        the client went away."""
        ...

    def stage(self, name: Stage, seconds: float) -> None:
        """A stage of a request has ended, well or badly."""
        ...

    def waiting(self, count: int) -> None:
        """So many requests are admitted now."""
        ...


class NoMetrics:
    """Nothing is collected."""

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        pass

    def stage(self, name: Stage, seconds: float) -> None:
        pass

    def waiting(self, count: int) -> None:
        pass
