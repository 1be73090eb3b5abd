"""How the networks are computed: memory layout, compilation, and algorithms that repeat to the bit."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch._functorch.config
from torch import nn
from torch._dynamo.exc import TorchDynamoException

from art2real.config.tree import Compute

log = logging.getLogger(__name__)

_memory: Any = torch.utils.deterministic


def memory_format(compute: Compute, device: torch.device) -> torch.memory_format:
    """The layout of images and weights: channels last is what a GPU's matrix units read; a CPU loses."""
    wanted = device.type == "cuda" if compute.channels_last is None else compute.channels_last
    return torch.channels_last if wanted else torch.contiguous_format


def compiles(compute: Compute, device: torch.device) -> bool:
    """Whether the networks are compiled."""
    return device.type == "cuda" if compute.compile is None else compute.compile


class Compiled:
    """A network that is compiled when it is first called, and goes on as it is where that fails.

    Args:
        network: computes `[B, 3, H, W]` -> a tensor; each shape is compiled by itself.
        cuda_graphs: replay it as a CUDA graph: what it returns is overwritten in the next step
            (`torch.compiler.cudagraph_mark_step_begin`).
    """

    def __init__(self, network: nn.Module, *, cuda_graphs: bool = False) -> None:
        self._network = network
        mode = "reduce-overhead" if cuda_graphs else None
        if hasattr(torch._functorch.config, "force_non_lazy_backward_lowering"):
            # The backward pass is compiled with the forward one, so that its failure is met here too.
            torch._functorch.config.force_non_lazy_backward_lowering = True
        self._compiled = torch.compile(network, dynamic=False, mode=mode)
        self._failed = False

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        if self._failed:
            return self._network(images)
        try:
            return self._compiled(images)
        except TorchDynamoException as error:
            self._failed = True
            log.warning(
                "torch.compile failed, going on without it (compute.compile=false): %s", _cause(error)
            )
            return self._network(images)


def _cause(error: BaseException) -> str:
    """The line of a compiler's error that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line and not line.endswith("raised:")), type(error).__name__)


@contextmanager
def algorithms(compute: Compute, device: torch.device) -> Iterator[None]:
    """While it lasts, this process computes with the algorithms that were asked for.

    Otherwise cuDNN tries which of its own is the fastest: all steps have the same shapes.
    """
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        _memory.fill_uninitialized_memory,
        torch.backends.cudnn.benchmark,
    )
    if compute.deterministic:
        # Read when the first matrix is multiplied on a GPU.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        # Nothing here reads memory that it has not written.
        _memory.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = device.type == "cuda" and not compute.deterministic
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        _memory.fill_uninitialized_memory = before[2]
        torch.backends.cudnn.benchmark = before[3]
