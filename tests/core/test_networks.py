"""The networks against what is published of them: names of weights, sizes, receptive field."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from art2real.core.networks import PatchDiscriminator, ResNetGenerator, initialise


def small_generator(seed: int = 0) -> ResNetGenerator:
    generator = ResNetGenerator(width=4, blocks=2)
    initialise(generator, torch.Generator().manual_seed(seed))
    return generator


def weights_and_biases(*layers: str) -> set[str]:
    return {f"model.{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}


def test_generator_has_the_published_names_and_shapes():
    with torch.device("meta"):
        state = ResNetGenerator().state_dict()
    blocks = [f"{block}.conv_block.{place}" for block in range(10, 19) for place in (1, 5)]
    assert set(state) == weights_and_biases("1", "4", "7", *blocks, "19", "22", "26")
    assert state["model.1.weight"].shape == (64, 3, 7, 7)
    assert state["model.7.weight"].shape == (256, 128, 3, 3)
    assert state["model.18.conv_block.5.weight"].shape == (256, 256, 3, 3)
    assert state["model.19.weight"].shape == (256, 128, 3, 3)  # transposed: inputs first
    assert state["model.26.weight"].shape == (3, 64, 7, 7)
    assert sum(value.numel() for value in state.values()) == 11_378_179  # the published 11.378 M


def test_discriminator_has_the_published_names_and_shapes():
    with torch.device("meta"):
        state = PatchDiscriminator().state_dict()
    assert set(state) == weights_and_biases("0", "2", "5", "8", "11")
    assert state["model.8.weight"].shape == (512, 256, 4, 4)
    assert sum(value.numel() for value in state.values()) == 2_764_737  # the published 2.765 M


@pytest.mark.parametrize(
    ("size", "made"), [((8, 8), (8, 8)), ((64, 40), (64, 40)), ((33, 50), (36, 52)), ((31, 64), (32, 64))]
)
def test_generated_images_have_the_size_rounded_up_to_fours(size, made):
    with torch.no_grad():
        assert small_generator()(torch.zeros(2, 3, *size)).shape == (2, 3, *made)


def test_generated_values_stay_in_the_range_of_tanh_and_use_it():
    generator = small_generator()
    for layer in generator.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.data *= 50
    with torch.no_grad():
        made = generator(torch.randn(1, 3, 32, 32) * 100)
    assert made.abs().max() <= 1.0
    assert made.min() < -0.9
    assert made.max() > 0.9


@pytest.mark.parametrize(("size", "scores"), [((256, 256), (30, 30)), ((24, 24), (1, 1)), ((64, 40), (6, 3))])
def test_one_score_a_patch(size, scores):
    with torch.no_grad():
        assert PatchDiscriminator(width=4)(torch.zeros(1, 3, *size)).shape == (1, 1, *scores)


def test_a_score_sees_70_pixels_and_no_more():
    discriminator = PatchDiscriminator(width=4)
    for place, layer in enumerate(discriminator.model):
        if isinstance(
            layer, nn.InstanceNorm2d
        ):  # it mixes the whole image in; the field is the convolutions'
            discriminator.model[place] = nn.Identity()
        elif isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.weight, 0.1)
    images = torch.ones(1, 3, 160, 160, requires_grad=True)
    discriminator(images)[0, 0, 9, 9].backward()
    seen = torch.nonzero(images.grad[0, 0])
    low, high = seen.min(0).values, seen.max(0).values
    assert (high - low + 1).tolist() == [70, 70]
    assert len(seen) == 70 * 70


def test_initialise_is_the_published_distribution_and_the_same_for_a_seed():
    first, same, other = small_generator(3), small_generator(3), small_generator(4)
    for name, value in first.state_dict().items():
        assert torch.equal(value, same.state_dict()[name])
        if name.endswith("bias"):
            assert not value.any()
        else:
            assert not torch.equal(value, other.state_dict()[name])
    large = PatchDiscriminator(width=32)
    initialise(large, torch.Generator().manual_seed(0))
    weight = large.model[8].weight.detach()
    assert float(weight.std()) == pytest.approx(0.02, rel=0.01)
    assert float(weight.mean()) == pytest.approx(0.0, abs=1e-4)


def test_the_global_random_state_plays_no_part_in_initialise():
    torch.manual_seed(1)
    first = small_generator()
    torch.manual_seed(2)
    assert torch.equal(first.model[1].weight, small_generator().model[1].weight)
