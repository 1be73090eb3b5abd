"""The part of VGG-19's weights that style transfer needs, drawn at random: a tenth of the whole file."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from art2real.evaluation.networks import architecture
from art2real.evaluation.style_loss import DEPTH
from art2real.evaluation.weights import Weights, find_weights


def write_style_weights(folder: Path, *, gain: float = 1.0) -> Weights:
    """Seeded weights (He et al., 2015); the first layer, and so all responses, are multiplied by `gain`."""
    layers = architecture("vgg19").get_submodule("features")
    assert isinstance(layers, nn.Sequential)
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, tensor in layers[:DEPTH].state_dict().items():
        deviation = (2 / tensor[0].numel()) ** 0.5 if tensor.dim() > 1 else 0.05
        tensors[f"features.{name}"] = torch.empty(tensor.shape).normal_(0, deviation, generator=generator)
    tensors["features.0.weight"] *= gain
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "vgg19.safetensors")
    return find_weights("vgg19", folder / "vgg19.safetensors", any_weights=True)
