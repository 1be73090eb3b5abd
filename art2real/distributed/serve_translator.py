"""The deployment that holds the generators: batches of one size, several models, swapped while it serves."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from art2real.distributed.serve_metrics import ModelMetrics
from art2real.errors import UserError
from art2real.serving.backend import UnknownModel
from art2real.serving.batcher import Batcher
from art2real.translation.image import WHOLE_PIXELS, padded_size, translate_batch, translate_image
from art2real.translation.weights import load_generator

_log = logging.getLogger("ray.serve")

_WARM_UP = 256
"""Side of the picture that each model translates before it is given requests, pixels."""
_PROBE = 8


class _Job:
    """What makes requests one batch: a generator (the object: a swap makes another) and a padded size."""

    def __init__(self, name: str, generator: torch.nn.Module, size: tuple[int, int]) -> None:
        self.name, self.generator, self.size = name, generator, size

    def __hash__(self) -> int:
        return hash((id(self.generator), self.size))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Job) and self.generator is other.generator and self.size == other.size


class Translator:
    """Translates decoded pictures; nothing else runs in its process."""

    def __init__(self, batch_pixels: int, threads: int, device: str) -> None:
        """
        Args:
            batch_pixels: most pixels that are translated in one pass, where more than one picture is.
            threads: that a CPU computes with.
            device: `cpu` or `cuda`.
        """
        torch.set_num_threads(threads)
        self._device = torch.device(device)
        self._batch_pixels = batch_pixels
        self._models: dict[str, torch.nn.Module] = {}
        self._metrics = ModelMetrics()
        self._batcher: Batcher[np.ndarray, np.ndarray] = Batcher(
            self._work, ThreadPoolExecutor(1), largest=self._largest
        )

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Loads `user_config["models"]`, checkpoints by name, and warms them up; the first is the default.

        Requests that are under way or arrive meanwhile are answered by the models of before. Where one of the
        new ones cannot be loaded, those of before stay, which the log and a metric say: raising would have
        Serve end this replica, and with it a service that works.

        Raises:
            UserError: at the start, there is none, or one cannot be loaded.
        """
        loading = ThreadPoolExecutor(1)
        try:
            self._models = await asyncio.get_running_loop().run_in_executor(
                loading, self._load, user_config["models"]
            )
            self._metrics.outdated(False)
        except UserError as error:
            if not self._models:
                raise
            _log.error("the models are not changed: %s", error)
            self._metrics.outdated(True)
        finally:
            loading.shutdown(wait=False)

    async def names(self) -> list[str]:
        """The models, the default first."""
        return list(self._models)

    async def translate(self, model: str, pixels: np.ndarray) -> np.ndarray:
        """A picture, uint8 `[H, W, 3]`, by a model: the same size.

        Raises:
            UnknownModel: there is none of that name.
        """
        try:
            generator = self._models[model]
        except KeyError:
            raise UnknownModel(model) from None
        return await self._batcher.submit(_Job(model, generator, padded_size(*pixels.shape[:2])), pixels)

    async def probe(self) -> None:
        """Goes through the default model, behind what waits for it."""
        await self.translate(next(iter(self._models)), np.zeros((_PROBE, _PROBE, 3), np.uint8))

    def _load(self, checkpoints: dict[str, str]) -> dict[str, torch.nn.Module]:
        if not checkpoints:
            raise UserError("no model to serve; name checkpoints in the user_config of Translator")
        models: dict[str, torch.nn.Module] = {}
        for name, checkpoint in checkpoints.items():
            models[name] = load_generator(Path(checkpoint)).to(self._device)
            translate_image(models[name], np.zeros((_WARM_UP, _WARM_UP, 3), np.uint8))
        return models

    def _largest(self, job: Hashable) -> int:
        assert isinstance(job, _Job)
        height, width = job.size
        return max(1, self._batch_pixels // (height * width))

    def _work(self, job: Hashable, pictures: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        assert isinstance(job, _Job)
        begun = time.perf_counter()
        if job.size[0] * job.size[1] > WHOLE_PIXELS:
            results = [translate_image(job.generator, each) for each in pictures]
        else:
            results = translate_batch(job.generator, pictures)
        self._metrics.batch(job.name, len(pictures), time.perf_counter() - begun)
        return results
