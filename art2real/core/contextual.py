"""The contextual loss at one scale.

Tomei et al., "What was Monet seeing while painting?" (2018), equations 5-8; after Mechrez et al., "The
Contextual Loss for Image Transformation with Non-Aligned Data", ECCV 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from art2real.core.affinity import full_precision, near_far_affinity, streamed_affinity, unit

BANDWIDTH = 1.0
EPSILON = 1e-5


def contextual_loss(
    generated: torch.Tensor,
    real: torch.Tensor,
    mean: torch.Tensor,
    *,
    bandwidth: float = BANDWIDTH,
    epsilon: float = EPSILON,
) -> torch.Tensor:
    """The contextual loss of generated patches over the given real patches: -log(mean_i max_j A_ij).

    Args:
        generated: `[N, D]` patches with values in [-1, 1]; the gradient goes here.
        real: `[M, D]` patches with values in [-1, 1]; constants, no gradient goes to them.
        mean: `[D]` mean of the bank.
        bandwidth: h of the softmax. epsilon: added to the least distance of each row.

    Returns:
        A scalar >= 0, 0 when every generated patch has one real patch much nearer than all others. Patches
        that are not finite, generated or real, are left out and get no gradient; without any finite
        generated patch the loss is NaN, with a gradient of zero.

    Raises:
        ValueError: no real patch, or shapes that do not fit.
    """
    return near_far_loss(generated, real, mean, None, None, None, bandwidth=bandwidth, epsilon=epsilon)


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
) -> torch.Tensor:
    """`contextual_loss` with near columns for each row and weighted far columns for all: see
    `art2real.core.affinity.near_far_affinity` for `near` `[N, k]`, `far` `[F]` and `far_weight` `[F]`."""
    _check(generated, real, mean)
    with full_precision(generated.device):
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
        return _reduce(log_best, defined & finite)


def streamed_loss(
    generated: torch.Tensor,
    blocks: Callable[[], Iterable[torch.Tensor]],
    mean: torch.Tensor,
    *,
    bandwidth: float = BANDWIDTH,
    epsilon: float = EPSILON,
) -> torch.Tensor:
    """`contextual_loss` over real patches that come in blocks `[M_b, D]`; `blocks` is called twice."""
    with full_precision(generated.device):
        mean = mean.to(generated)
        rows, finite = _finite_unit(generated, mean)
        log_best = streamed_affinity(
            rows,
            lambda: (unit(block.to(generated), mean) for block in blocks()),
            bandwidth=bandwidth,
            epsilon=epsilon,
        )
        return _reduce(log_best, finite)


def _finite_unit(generated: torch.Tensor, mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit rows with the mean in place of broken patches (so that no NaN meets a gradient), and which are whole."""
    finite = generated.isfinite().all(-1)
    return unit(torch.where(finite[:, None], generated, mean), mean), finite


def _reduce(log_best: torch.Tensor, use: torch.Tensor) -> torch.Tensor:
    """-log of the mean of exp(log_best) over the rows to use."""
    if not bool(use.any()):
        return torch.where(use, log_best, 0.0).sum() + torch.nan
    return use.sum().log() - torch.logsumexp(torch.where(use, log_best, -torch.inf), 0)


def _check(generated: torch.Tensor, real: torch.Tensor, mean: torch.Tensor) -> None:
    if generated.ndim != 2 or real.ndim != 2 or mean.shape != generated.shape[1:]:
        raise ValueError(
            f"generated [N, D], real [M, D] and mean [D] do not fit: {list(generated.shape)}, "
            f"{list(real.shape)}, {list(mean.shape)}"
        )
    if real.shape[1] != generated.shape[1]:
        raise ValueError(f"generated patches have {generated.shape[1]} values, real ones {real.shape[1]}")
    if len(real) == 0:
        raise ValueError("the contextual loss needs at least one real patch")
