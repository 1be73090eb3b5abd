"""Measures the contextual loss: the cells' expected shares, and affinities with their gradient."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from art2real.core.contextual import near_far_loss
from art2real.core.sampling import cell_chances
from art2real.plan.clock import all_cores, taken

_WIDE, _NARROW = 768, 48
_PATCHES, _CELLS, _NEAR, _FAR = 400, 4096, 32, 4096


def split(
    wide: Sequence[float], narrow: Sequence[float], widths: tuple[int, int] = (_WIDE, _NARROW)
) -> tuple[list[float], list[float]]:
    """What a value and what a pair takes, from seconds a pair with wide and narrow rows, round by round."""
    large, small = widths
    values, pairs = [], []
    for more, less in zip(wide, narrow, strict=False):
        # A noisy round could make either negative: each keeps at least a hundredth of what was seen.
        value = max((more - less) / (large - small), more / large / 100)
        values.append(value)
        pairs.append(max(less - small * value, less / 100))
    return values, pairs


def chances(rounds: int) -> dict[str, Sequence[float]]:
    """Core-seconds of the expected shares of cells."""

    def seconds(width: int) -> list[float]:
        random = torch.Generator().manual_seed(0)
        patches, nearest = (torch.rand(_PATCHES, width, generator=random) for _ in range(2))
        mean = torch.full((width,), 0.5)
        directions = torch.nn.functional.normalize(torch.randn(_CELLS, width, generator=random), dim=1)
        sizes = torch.full((_CELLS,), 100.0, dtype=torch.float64)

        def work() -> None:
            cell_chances(
                patches,
                nearest,
                mean,
                directions,
                sizes,
                uniform=0.1,
                bandwidth=1.0,
                epsilon=1e-5,
            )

        return [each / (_PATCHES * _CELLS) for each in taken(work, rounds, all_cores)]

    values, pairs = split(seconds(_WIDE), seconds(_NARROW))
    return {"chance_value_seconds": values, "chance_pair_seconds": pairs}


def affinities(rounds: int, device: torch.device) -> dict[str, Sequence[float]]:
    """Core-seconds, or seconds of a GPU, of the loss over near and far rows and its gradient."""
    clock = time.perf_counter if device.type == "cuda" else all_cores

    def seconds(width: int) -> list[float]:
        random = torch.Generator().manual_seed(0)
        rows = _PATCHES * _NEAR // 2
        real = torch.rand(rows + _FAR, width, generator=random).to(device)
        patches = torch.rand(_PATCHES, width, generator=random).to(device).requires_grad_()
        near = torch.randint(rows, (_PATCHES, _NEAR), generator=random).to(device)
        far = torch.arange(rows, rows + _FAR, device=device)
        weight = torch.full((_FAR,), 100.0, device=device)
        mean = torch.full((width,), 0.5, device=device)

        def work() -> None:
            patches.grad = None
            loss = near_far_loss(patches, real, mean, near, far, weight)
            loss.backward()
            assert patches.grad is not None
            float(patches.grad[0, 0])  # a GPU may still be at work

        return [each / (_PATCHES * (_NEAR + _FAR)) for each in taken(work, rounds, clock)]

    values, pairs = split(seconds(_WIDE), seconds(_NARROW))
    return {"affinity_value_seconds": values, "affinity_pair_seconds": pairs}
