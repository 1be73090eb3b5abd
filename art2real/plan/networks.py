"""Multiply-adds and parameters of the networks: the layers of `art2real.core.networks`, counted."""

from __future__ import annotations

# Passes of a training step, each for one image of each domain (Zhu et al., ICCV 2017): G and F each see a
# painting, a photo and the other's output. A pass costs its multiply-adds three times: forward, backward to
# its input, backward to its weights.
_GENERATOR_PASSES = 6 * 3
# The judges of the generators learn nothing: two images, forward and backward to the input; the
# discriminators themselves see two real and two generated ones.
_DISCRIMINATOR_PASSES = 2 * 2 + 4 * 3


def generator_multiply_adds(side: int, width: int = 64, blocks: int = 9) -> int:
    """Of one forward pass of an image of `side` pixels."""
    whole, half, quarter = side**2, (side // 2) ** 2, (side // 4) ** 2
    ends = 2 * whole * 3 * width * 49
    middle = 2 * half * width * 2 * width * 9 + 2 * quarter * 2 * width * 4 * width * 9
    return ends + middle + blocks * 2 * quarter * (4 * width) ** 2 * 9


def discriminator_multiply_adds(side: int, width: int = 64) -> int:
    """Of one forward pass of an image of `side` pixels."""
    eighth = side // 8
    return 16 * (
        (side // 2) ** 2 * 3 * width
        + (side // 4) ** 2 * 2 * width**2
        + eighth**2 * 8 * width**2
        + (eighth - 1) ** 2 * 32 * width**2
        + (eighth - 2) ** 2 * 8 * width
    )


def step_multiply_adds(side: int, batch: int = 1, width: int = 64, blocks: int = 9) -> int:
    """Of all networks in a training step, forward and backward."""
    generators = _GENERATOR_PASSES * generator_multiply_adds(side, width, blocks)
    return batch * (generators + _DISCRIMINATOR_PASSES * discriminator_multiply_adds(side, width))


def parameters(width: int = 64, blocks: int = 9) -> int:
    """Of two generators and two discriminators, weights and biases."""
    generator = (
        (3 * width * 49 + width)
        + (width * 2 * width * 9 + 2 * width)
        + (2 * width * 4 * width * 9 + 4 * width)
        + blocks * 2 * ((4 * width) ** 2 * 9 + 4 * width)
        + (4 * width * 2 * width * 9 + 2 * width)
        + (2 * width * width * 9 + width)
        + (width * 3 * 49 + 3)
    )
    discriminator = (
        (3 * width * 16 + width)
        + (2 * width**2 * 16 + 2 * width)
        + (8 * width**2 * 16 + 4 * width)
        + (32 * width**2 * 16 + 8 * width)
        + (8 * width * 16 + 1)
    )
    return 2 * (generator + discriminator)
