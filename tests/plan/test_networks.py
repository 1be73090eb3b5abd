from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from art2real.config.tree import Networks, Objective, Schedule
from art2real.core.networks import PatchDiscriminator, ResNetGenerator
from art2real.plan.networks import (
    discriminator_multiply_adds,
    generator_multiply_adds,
    parameters,
    step_multiply_adds,
)
from art2real.training.step import CycleGAN, build_networks, trainable


def counted(network: torch.nn.Module, side: int) -> int:
    with FlopCounterMode(display=False) as counter:
        network.to("meta")(torch.empty(1, 3, side, side, device="meta"))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("side", [64, 256])
@pytest.mark.parametrize(("width", "blocks"), [(64, 9), (16, 2)])
def test_multiply_adds_are_those_that_torch_counts(side: int, width: int, blocks: int) -> None:
    assert generator_multiply_adds(side, width, blocks) == counted(ResNetGenerator(width, blocks), side)
    assert discriminator_multiply_adds(side, width) == counted(PatchDiscriminator(width), side)


def test_parameters() -> None:
    sizes = Networks(generator_width=16, generator_blocks=3, discriminator_width=16)
    assert parameters(16, 3) == trainable(build_networks(sizes, 0).values())


def test_a_step_is_what_torch_counts_in_one() -> None:
    """First layers need no gradient of their input, which is not worth a formula."""
    sizes = Networks(generator_width=8, generator_blocks=2, discriminator_width=8)
    model = CycleGAN(build_networks(sizes, 0), Objective(), Schedule())
    images = torch.zeros(1, 3, 64, 64)
    with FlopCounterMode(display=False) as counter:
        model.step(images, images, 0)
    planned = step_multiply_adds(64, width=8, blocks=2)
    assert planned == pytest.approx(counter.get_total_flops() / 2, rel=0.1)
    assert step_multiply_adds(64, batch=3, width=8, blocks=2) == 3 * planned
