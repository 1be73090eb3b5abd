"""The pull towards real patches: retrieval runs beside the networks, the loss comes when it is needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch

from art2real.core.estimators import Estimator, PatchSource
from art2real.core.patches import extract
from art2real.core.scale import Scale

# First word of the seed of the estimators' draws.
_DRAWS = 3

Loss = Callable[[torch.Tensor], torch.Tensor]


class ContextualPull:
    """The contextual loss of images over the scales of a memory bank.

    Tomei et al., "What was Monet seeing while painting?" (2018), equation 9: the sum over the scales, here
    also the mean over the images of a batch.
    """

    def __init__(
        self, sources: Mapping[Scale, PatchSource], estimator: Estimator, *, seed: int, rank: int = 0
    ) -> None:
        self.sources = dict(sources)
        self.estimator = estimator
        self._seed = seed
        self._rank = rank
        # Retrieval waits for index actors most of the time, so all scales are asked at once.
        self._pool = ThreadPoolExecutor(2 * len(self.sources), thread_name_prefix="retrieval")

    def start(self, images: torch.Tensor, step: int) -> PendingPull:
        """Sends the queries for generated images `[B, 3, H, W]` in [-1, 1] and returns without waiting.

        The images keep their graph: the gradient of `PendingPull.collect` reaches whatever made them.
        """
        pending = PendingPull()
        for number, (scale, source) in enumerate(self.sources.items()):
            patches = extract(images.float(), scale.size, scale.stride)
            for place, rows in enumerate(patches):
                random = np.random.default_rng([_DRAWS, self._seed, step, self._rank, place, number])
                job = self._pool.submit(_timed, self.estimator, rows.detach(), source, random)
                pending.parts.append((rows, source, job))
        pending.images = len(images)
        return pending

    @property
    def missing(self) -> int:
        """Queries that were answered without the rows of a lost index shard."""
        return sum(source.missing for source in self.sources.values())

    def close(self) -> None:
        """Ends the threads; queries that were not sent are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)


@dataclass
class PendingPull:
    """Queries on their way, for the images of one step."""

    parts: list[tuple[torch.Tensor, PatchSource, Future[tuple[Loss, float]]]] = field(default_factory=list)
    images: int = 0
    seconds: float = 0.0
    """Work of the retrieval, summed over its threads."""
    waited: float = 0.0
    """Time that `collect` stood still for it."""
    computed: float = 0.0
    """Time that `collect` took for the affinities and their gradient."""

    def collect(self) -> torch.Tensor:
        """The loss, a float32 scalar, once the real patches have come back.

        Raises:
            UserError: an index shard was lost, and may not be done without.
        """
        total = torch.zeros((), device=self.parts[0][0].device)
        for rows, source, job in self.parts:
            begun = time.perf_counter()
            loss, seconds = job.result()
            answered = time.perf_counter()
            value = loss(rows)
            # Of a scale whose shards are all lost, and may be done without, nothing can be said.
            if not source.missing or value.isfinite() or not rows.isfinite().all():
                total = total + value
            self.waited += answered - begun
            self.computed += time.perf_counter() - answered
            self.seconds += seconds
        return total / self.images


def _timed(
    estimator: Estimator, rows: torch.Tensor, source: PatchSource, random: np.random.Generator
) -> tuple[Loss, float]:
    begun = time.perf_counter()
    loss = estimator.prepare(rows, source, random)
    return loss, time.perf_counter() - begun
