"""What the HTTP service asks of whatever holds the models: actors of a cluster, or this process."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Busy(Exception):  # noqa: N818 - reads as what it is: a backend that is busy
    """As much waits for the model as may; `retry_after` says in how many seconds to come again."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"full, for about {retry_after:g} s")
        self.retry_after = retry_after


class UnknownModel(Exception):  # noqa: N818
    """No model of this name is served."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Unavailable(Exception):  # noqa: N818
    """The model cannot answer now: it starts, or has died. `detail` is for the log, never for a client."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Backend(Protocol):
    """The models behind the service.

    Every call may raise `Unavailable`; one that is cancelled lets go of what it waits for.
    """

    @property
    def explains(self) -> bool:
        """Whether there is a memory bank to explain translations with."""
        ...

    async def names(self) -> list[str]:
        """The served models, the default first. Asked for at each request, so it answers at once."""
        ...

    async def translate(self, model: str, pixels: np.ndarray) -> np.ndarray:
        """G(image) of the same size: uint8 `[H, W, 3]` to uint8 `[H, W, 3]`.

        Raises:
            Busy: too much is waiting.
            UnknownModel: there is no such model (any more).
        """
        ...

    async def explain(self, model: str, pixels: np.ndarray, *, pictures: bool) -> dict[str, Any]:
        """The real patches behind a translated image, as `art2real.translation.explain.Explanation.to_dict`.

        Args:
            model: whose translation it is.
            pixels: the translated image, uint8 `[H, W, 3]`.
            pictures: with the patches and photos as pictures.

        Raises:
            Busy: too much is waiting.
        """
        ...

    async def probe(self) -> None:
        """Translates a tiny picture by the default model; raises when that fails."""
        ...
