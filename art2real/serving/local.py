"""The models in this process: for tests, and to measure what a cluster adds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch

from art2real.serving.backend import Unavailable, UnknownModel
from art2real.translation.image import translate_image

T = TypeVar("T")


class LocalBackend:
    """One thread computes, one image at a time."""

    def __init__(
        self,
        generators: Mapping[str, torch.nn.Module],
        explain: Callable[[np.ndarray, bool], dict[str, Any]] | None = None,
    ) -> None:
        """
        Args:
            generators: by name, the default first; each `[1, 3, H, W]` in [-1, 1] -> the same.
            explain: from a translated image (uint8 `[H, W, 3]`), and whether with pictures, to
                `Explanation.to_dict`.
        """
        self._generators = dict(generators)
        self._explain = explain
        self._thread = ThreadPoolExecutor(1, "art2real-model")
        self.explains = explain is not None

    async def names(self) -> list[str]:
        return list(self._generators)

    async def translate(self, model: str, pixels: np.ndarray) -> np.ndarray:
        if model not in self._generators:
            raise UnknownModel(model)
        return await self._computed(translate_image, self._generators[model], pixels)

    async def explain(self, model: str, pixels: np.ndarray, *, pictures: bool) -> dict[str, Any]:
        if self._explain is None:
            raise Unavailable("there is no memory bank")
        return await self._computed(self._explain, pixels, pictures)

    async def probe(self) -> None:
        await self.translate(next(iter(self._generators)), np.zeros((8, 8, 3), np.uint8))

    async def _computed(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
