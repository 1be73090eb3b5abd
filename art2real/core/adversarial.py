"""The losses of CycleGAN, computed in float32 whatever the networks compute in.

Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks",
ICCV 2017; the least-squares form is Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017.
All return a scalar and are means over their input; weights are the caller's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def discriminator_loss(real_scores: torch.Tensor, generated_scores: torch.Tensor) -> torch.Tensor:
    """Half of E[(D(y) - 1)^2] + E[D(G(x))^2] (section 4): the half slows the discriminator as published.

    Args:
        real_scores, generated_scores: any shape, the discriminator's output; generated images are detached.
    """
    return 0.5 * ((real_scores.float() - 1.0).square().mean() + generated_scores.float().square().mean())


def generator_loss(generated_scores: torch.Tensor) -> torch.Tensor:
    """E[(D(G(x)) - 1)^2] (section 4)."""
    return (generated_scores.float() - 1.0).square().mean()


def cycle_loss(restored: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """E[|F(G(x)) - x|], a mean over pixels and channels (equation 2, one direction). Published weight: 10."""
    return F.l1_loss(restored.float(), images.float())


def identity_loss(mapped: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """E[|G(y) - y|]: an image that is already in the target domain stays as it is (section 5.2). Published
    weight: 0.5 times the cycle loss's."""
    return F.l1_loss(mapped.float(), images.float())
