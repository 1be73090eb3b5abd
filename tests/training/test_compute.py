"""Memory layout, compilation and deterministic algorithms: the same results, in other ways."""

from __future__ import annotations

import logging

import pytest
import torch
from torch._dynamo.exc import BackendCompilerFailed

from art2real.config.tree import Compute, Networks, Objective, Schedule
from art2real.core.networks import ResNetGenerator, initialise, mirrored
from art2real.training import compute
from art2real.training.compute import Compiled, algorithms, compiles, memory_format
from art2real.training.step import CycleGAN, build_networks
from tests.training.test_step import batch

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SIZES = Networks(generator_width=4, generator_blocks=1, discriminator_width=4)


def steps(settings, count=3):
    model = CycleGAN(build_networks(SIZES, 0), Objective(), Schedule(pool_size=3), settings)
    taken = [model.step(batch(seed=step), batch(seed=50 + step), step) for step in range(count)]
    return [{name: float(loss) for name, loss in losses.items()} for losses in taken]


def same_losses(some, others):
    """As near as another order of sums lets them be: Adam's first steps have one length for any gradient."""
    for one, other, tolerance in zip(some, others, (1e-4, 0.1, 0.1), strict=True):
        assert one == pytest.approx(other, rel=tolerance)


def test_gpus_are_computed_on_as_they_like_and_settings_override_it():
    assert memory_format(Compute(), CPU) == torch.contiguous_format
    assert memory_format(Compute(), GPU) == torch.channels_last
    assert memory_format(Compute(channels_last=True), CPU) == torch.channels_last
    assert memory_format(Compute(channels_last=False), GPU) == torch.contiguous_format
    assert not compiles(Compute(), CPU)
    assert compiles(Compute(), GPU)
    assert compiles(Compute(compile=True), CPU)
    assert not compiles(Compute(compile=False), GPU)


def test_channels_last_changes_the_layout_and_not_the_losses():
    model = CycleGAN(build_networks(SIZES, 0), Objective(), Schedule(), Compute(channels_last=True))
    weight = model.networks["G"].model[4].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    same_losses(steps(Compute()), steps(Compute(channels_last=True)))


@pytest.mark.slow
def test_a_compiled_step_has_the_losses_of_a_plain_one():
    same_losses(steps(Compute()), steps(Compute(compile=True)))


def test_where_compilation_fails_the_network_goes_on_as_it_is(monkeypatch, caplog):
    def no_compiler(network, **_):
        def call(images):
            raise BackendCompilerFailed(lambda: None, RuntimeError("no C++ compiler found"), None)

        return call

    monkeypatch.setattr(compute.torch, "compile", no_compiler)
    with caplog.at_level(logging.WARNING):
        assert steps(Compute(compile=True)) == steps(Compute())
    warnings = [line for line in caplog.messages if "going on without it" in line]
    assert len(warnings) == 6  # four networks, two of them also as judges
    assert "no C++ compiler found" in warnings[0]


def test_a_mistake_in_a_network_is_no_failure_of_its_compilation(monkeypatch):
    monkeypatch.setattr(compute.torch, "compile", lambda network, **_: network)
    with pytest.raises(RuntimeError, match="channels"):
        Compiled(ResNetGenerator(4, 1))(torch.zeros(1, 4, 32, 32))


def test_deterministic_algorithms_last_as_long_as_the_run():
    before = torch.utils.deterministic.fill_uninitialized_memory, torch.backends.cudnn.benchmark
    with algorithms(Compute(deterministic=True), CPU):
        assert torch.are_deterministic_algorithms_enabled()
        assert steps(Compute()) == steps(Compute())
    assert not torch.are_deterministic_algorithms_enabled()
    with algorithms(Compute(), GPU):
        assert torch.backends.cudnn.benchmark
    assert (torch.utils.deterministic.fill_uninitialized_memory, torch.backends.cudnn.benchmark) == before


@pytest.mark.parametrize("width", [1, 3])
def test_mirrored_strips_are_reflection_padding(width):
    images = torch.rand(2, 3, 7, 5, requires_grad=True)
    expected = torch.nn.functional.pad(images, [width] * 4, mode="reflect")
    assert torch.equal(mirrored(images, width), expected)
    weight = torch.rand_like(expected)
    (one,) = torch.autograd.grad((mirrored(images, width) * weight).sum(), images)
    (other,) = torch.autograd.grad((expected * weight).sum(), images)
    torch.testing.assert_close(one, other)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_deterministic_step_on_a_gpu_repeats_to_the_bit():
    def trained():
        networks = build_networks(SIZES, 0)
        model = CycleGAN(networks, Objective(), Schedule(), Compute(deterministic=True), device=GPU)
        for step in range(3):
            model.step(batch(seed=step).to(GPU), batch(seed=9 + step).to(GPU), step)
        return model.networks["G"].model[1].weight

    with algorithms(Compute(deterministic=True), GPU):
        assert torch.equal(trained(), trained())


def test_a_generator_pads_the_same_with_and_without(monkeypatch):
    generator = ResNetGenerator(4, 1)
    initialise(generator, torch.Generator().manual_seed(0))
    plain = generator(batch())
    monkeypatch.setattr(
        "art2real.core.networks.ReflectionPad.forward", lambda self, x: mirrored(x, self.padding[0])
    )
    assert torch.equal(generator(batch()), plain)
