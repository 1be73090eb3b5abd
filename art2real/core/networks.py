"""The networks of CycleGAN.

Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks",
ICCV 2017, section 4 and appendix 7.2. The names and shapes of the weights are those of the published code
(pytorch-CycleGAN-and-pix2pix: `resnet_9blocks` without dropout, `basic` discriminator, instance
normalisation), so published weights load.
"""

from __future__ import annotations

import torch
from torch import nn


class ResNetGenerator(nn.Module):
    """c7s1-64, d128, d256, 9 x R256, u128, u64, c7s1-3 (appendix 7.2; after Johnson et al., "Perceptual
    Losses for Real-Time Style Transfer", ECCV 2016).

    Images `[B, 3, H, W]` in [-1, 1] -> `[B, 3, H', W']` in [-1, 1], where H' and W' are H and W rounded up to
    multiples of 4. H and W are at least 8.
    """

    def __init__(self, width: int = 64, blocks: int = 9) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            ReflectionPad(3),
            nn.Conv2d(3, width, 7),
            *_normalised_relu(width),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            *_normalised_relu(2 * width),
            nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
            *_normalised_relu(4 * width),
            *(ResidualBlock(4 * width) for _ in range(blocks)),
            nn.ConvTranspose2d(4 * width, 2 * width, 3, stride=2, padding=1, output_padding=1),
            *_normalised_relu(2 * width),
            nn.ConvTranspose2d(2 * width, width, 3, stride=2, padding=1, output_padding=1),
            *_normalised_relu(width),
            ReflectionPad(3),
            nn.Conv2d(width, 3, 7),
            nn.Tanh(),
        ]
        self.model = nn.Sequential(*layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(images)


class ReflectionPad(nn.ReflectionPad2d):
    """`torch.nn.ReflectionPad2d`, whose gradient a GPU adds up in any order: where only deterministic
    algorithms are allowed, it is put together from mirrored strips instead."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.is_cuda and torch.are_deterministic_algorithms_enabled():
            return mirrored(images, self.padding[0])
        return super().forward(images)


def mirrored(images: torch.Tensor, width: int) -> torch.Tensor:
    """Reflection padding by `width` pixels on all sides: `[B, C, H, W]` -> `[B, C, H + 2w, W + 2w]`."""
    for axis in (2, 3):
        size = images.shape[axis]
        before = images.narrow(axis, 1, width).flip(axis)
        after = images.narrow(axis, size - 1 - width, width).flip(axis)
        images = torch.cat([before, images, after], axis)
    return images


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, added to their input (He et al., "Deep Residual Learning", CVPR 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            ReflectionPad(1),
            nn.Conv2d(width, width, 3),
            *_normalised_relu(width),
            ReflectionPad(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features + self.conv_block(features)


class PatchDiscriminator(nn.Module):
    """C64-C128-C256-C512 (appendix 7.2): each score is of one 70x70 patch (Isola et al., "Image-to-Image
    Translation with Conditional Adversarial Networks", CVPR 2017).

    Images `[B, 3, H, W]` in [-1, 1] -> scores `[B, 1, H/8 - 2, W/8 - 2]`, towards 1 for real images and 0 for
    generated ones. H and W are at least 24.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            *_scoring_layer(width, 2 * width, stride=2),
            *_scoring_layer(2 * width, 4 * width, stride=2),
            *_scoring_layer(4 * width, 8 * width, stride=1),
            nn.Conv2d(8 * width, 1, 4, padding=1),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(images)


def initialise(module: nn.Module, random: torch.Generator) -> None:
    """Weights from a normal distribution of mean 0 and deviation 0.02, biases 0 (appendix 7.1).

    The numbers are drawn on the CPU, in the order of the layers: the same generator state gives the same
    network on every device.

    Args:
        random: a CPU generator.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            with torch.no_grad():
                layer.weight.copy_(torch.empty(layer.weight.shape).normal_(0.0, 0.02, generator=random))
                if layer.bias is not None:
                    layer.bias.zero_()


def _normalised_relu(width: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(width), nn.ReLU(inplace=True)


def _scoring_layer(before: int, after: int, *, stride: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return (
        nn.Conv2d(before, after, 4, stride=stride, padding=1),
        nn.InstanceNorm2d(after),
        nn.LeakyReLU(0.2, inplace=True),
    )
