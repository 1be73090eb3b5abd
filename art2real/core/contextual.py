"""The contextual loss at one scale.

Tomei et al., "What was Monet seeing while painting?" (2018), equations 5-8; after Mechrez et al., "The
Contextual Loss for Image Transformation with Non-Aligned Data", ECCV 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import torch

from art2real.core.affinity import full_precision, near_far_affinity, streamed_affinity, unit, whole

BANDWIDTH = 1.0
EPSILON = 1e-5

Reduction = Literal["log_of_mean", "mean_of_log"]
"""From the largest affinity of each patch to the loss: -log of their mean, as published, in which patches
that have a near real patch weigh most; or the mean of their -log, in which every patch has the same say."""


def contextual_loss(
    generated: torch.Tensor,
    real: torch.Tensor,
    mean: torch.Tensor,
    *,
    bandwidth: float = BANDWIDTH,
    epsilon: float = EPSILON,
    reduction: Reduction = "log_of_mean",
) -> torch.Tensor:
    """The contextual loss of generated patches over the given real patches: -log(mean_i max_j A_ij).

    Args:
        generated: `[N, D]` patches with values in [-1, 1]; the gradient goes here.
        real: `[M, D]` patches with values in [-1, 1]; constants, no gradient goes to them.
        mean: `[D]` mean of the bank.
        bandwidth: h of the softmax. epsilon: added to the least distance of each row.
        reduction: see `Reduction`.

    Returns:
        A scalar >= 0, 0 when every generated patch has one real patch much nearer than all others. Patches
        that are not finite, generated or real, are left out and get no gradient; without any finite
        generated patch the loss is NaN, with a gradient of zero.

    Raises:
        ValueError: no patch on one of the sides, or shapes that do not fit.
    """
    return near_far_loss(
        generated, real, mean, None, None, None, bandwidth=bandwidth, epsilon=epsilon, reduction=reduction
    )


def near_far_loss(
    generated: torch.Tensor,
    real: torch.Tensor,
    mean: torch.Tensor,
    near: torch.Tensor | None,
    far: torch.Tensor | None,
    far_weight: torch.Tensor | None,
    *,
    bandwidth: float = BANDWIDTH,
    epsilon: float = EPSILON,
    reduction: Reduction = "log_of_mean",
) -> torch.Tensor:
    """`contextual_loss` with near columns for each row and weighted far columns for all: see
    `art2real.core.affinity.near_far_affinity` for `near` `[N, k]`, `far` `[F]` and `far_weight` `[F]`."""
    _check(generated, real, mean)
    with full_precision(generated.device):
        generated = at_least_float32(generated)
        mean = mean.to(generated)
        rows, finite = _finite_unit(generated, mean)
        log_best, defined = near_far_affinity(
            rows,
            unit(real.to(generated), mean),
            near,
            far,
            far_weight,
            bandwidth=bandwidth,
            epsilon=epsilon,
        )
        return _reduce(log_best, defined & finite, reduction)


def streamed_loss(
    generated: torch.Tensor,
    blocks: Callable[[], Iterable[torch.Tensor]],
    mean: torch.Tensor,
    *,
    bandwidth: float = BANDWIDTH,
    epsilon: float = EPSILON,
    reduction: Reduction = "log_of_mean",
) -> torch.Tensor:
    """`contextual_loss` over real patches that come in blocks `[M_b, D]`; `blocks` is called twice."""
    if len(generated) == 0:
        raise ValueError("the contextual loss needs at least one generated patch")
    with full_precision(generated.device):
        generated = at_least_float32(generated)
        mean = mean.to(generated)
        rows, finite = _finite_unit(generated, mean)
        log_best = streamed_affinity(
            rows,
            lambda: (unit(block.to(generated), mean) for block in blocks()),
            bandwidth=bandwidth,
            epsilon=epsilon,
        )
        return _reduce(log_best, finite, reduction)


def _finite_unit(generated: torch.Tensor, mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit rows, with the mean for broken patches so that no NaN meets a gradient, and which are whole."""
    finite = whole(generated)
    return unit(torch.where(finite[:, None], generated, mean), mean), finite


def at_least_float32(patches: torch.Tensor) -> torch.Tensor:
    """Networks may compute in bfloat16; the affinity of what they make may not."""
    return patches.to(torch.promote_types(patches.dtype, torch.float32))


def _reduce(log_best: torch.Tensor, use: torch.Tensor, reduction: Reduction) -> torch.Tensor:
    """The loss from log max_j A_ij of the rows to use; NaN, without gradient, where there is none."""
    if reduction == "mean_of_log":
        return -torch.where(use, log_best, 0.0).sum() / use.sum()
    log_best = torch.where(use, log_best, -torch.inf)
    peak = log_best.detach().max()
    return -(peak + ((log_best - peak).exp().sum() / use.sum()).log())


def _check(generated: torch.Tensor, real: torch.Tensor, mean: torch.Tensor) -> None:
    if generated.ndim != 2 or real.ndim != 2 or mean.shape != generated.shape[1:]:
        raise ValueError(
            f"generated [N, D], real [M, D] and mean [D] do not fit: {list(generated.shape)}, "
            f"{list(real.shape)}, {list(mean.shape)}"
        )
    if real.shape[1] != generated.shape[1]:
        raise ValueError(f"generated patches have {generated.shape[1]} values, real ones {real.shape[1]}")
    if len(generated) == 0:
        raise ValueError("the contextual loss needs at least one generated patch")
    if len(real) == 0:
        raise ValueError("the contextual loss needs at least one real patch")
