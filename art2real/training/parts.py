"""The parts of a run, made from its configuration: images, the pull towards real patches, the networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from art2real.config.tree import TrainingConfig
from art2real.core.estimators import PatchSource
from art2real.core.precision import network_dtype
from art2real.core.scale import Scale
from art2real.training.contextual import ContextualPull
from art2real.training.data import UnpairedImages
from art2real.training.plan import contextual_weight, estimator_of
from art2real.training.step import CPU, CycleGAN, build_networks


def make_data(config: TrainingConfig, rank: int = 0, world_size: int = 1) -> UnpairedImages:
    """The images of one worker."""
    return UnpairedImages(
        config.data.paintings,
        config.data.photos,
        load_size=config.data.load_size,
        crop_size=config.data.crop_size,
        flip=config.data.flip,
        batch_size=config.schedule.batch_size,
        seed=config.seed,
        rank=rank,
        world_size=world_size,
        anonymous=config.data.anonymous,
    )


def make_pull(
    config: TrainingConfig, sources: Mapping[Scale, PatchSource] | None, rank: int = 0
) -> ContextualPull | None:
    """The contextual loss over these scales of a bank; None for plain CycleGAN."""
    if not sources or contextual_weight(config) == 0:
        return None
    return ContextualPull(sources, estimator_of(config), seed=config.seed, rank=rank)


def make_model(
    config: TrainingConfig,
    pull: ContextualPull | None,
    rank: int = 0,
    device: torch.device = CPU,
    wrap: Callable[[nn.Module], nn.Module] = lambda network: network,
) -> CycleGAN:
    """The networks, as drawn from the seed, and what trains them."""
    return CycleGAN(
        build_networks(config.networks, config.seed),
        config.objective,
        config.schedule,
        config.compute,
        contextual=None if pull is None else (pull, contextual_weight(config)),
        seed=config.seed,
        rank=rank,
        device=device,
        bfloat16=uses_bfloat16(config, device),
        wrap=wrap,
    )


def uses_bfloat16(config: TrainingConfig, device: torch.device) -> bool:
    """Whether the networks compute in bfloat16 on that device."""
    if config.precision == "auto":
        return network_dtype(device) is torch.bfloat16
    return config.precision == "bfloat16"
