"""A few real steps before a run: how long it will take, and how much memory."""

from __future__ import annotations

import resource
import statistics
import time
from dataclasses import dataclass

import torch

from art2real.config.tree import TrainingConfig
from art2real.index.retriever import open_retriever
from art2real.index.source import RetrievedScale
from art2real.training.compute import algorithms
from art2real.training.parts import make_data, make_model, make_pull
from art2real.training.plan import Plan
from art2real.training.step import CPU

_STEPS = 3


@dataclass(frozen=True)
class Trial:
    """What a step took."""

    seconds: float
    """Median of some steps, after a first one."""
    bytes: int
    """The most memory that this process had with one worker and, on this machine, the whole index in it."""
    gpu_bytes: int
    """The most memory that tensors took on the GPU; 0 without one."""


def try_steps(config: TrainingConfig, plan: Plan, *, threads: int, device: torch.device = CPU) -> Trial:
    """Trains for a few steps in this process, as a single worker would, and forgets them.

    Args:
        threads: of the networks, and of each search.

    Raises:
        UserError: no usable image, or a damaged index.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    pull = None
    try:
        sources = {
            scale: RetrievedScale(plan.bank, scale, open_retriever(plan.bank, scale, threads), device)
            for scale in plan.scales
            if plan.bank is not None
        }
        data, pull = make_data(config), make_pull(config, sources)
        model = make_model(config, pull, device=device)
        taken = []
        begun = time.perf_counter()
        with algorithms(config.compute, device):
            for step, (paintings, photos) in enumerate(data.batches(0, _STEPS + 1)):
                losses = model.step(paintings.to(device), photos.to(device), step)
                float(next(iter(losses.values())))  # a GPU may still be at work
                taken.append(time.perf_counter() - begun)
                begun = time.perf_counter()
    finally:
        torch.set_num_threads(before)
        if pull is not None:
            pull.close()
    return Trial(
        statistics.median(taken[1:]),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0,
    )
