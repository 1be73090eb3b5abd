"""Weights of the real networks, drawn at random: the published ones are too large to carry along."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from art2real.evaluation.networks import architecture


def write_random_weights(network: str, folder: Path, seed: int = 0) -> Path:
    """Writes `NETWORK.safetensors`, the same for the same seed; features of images are then finite.

    Layers are drawn as He et al. do ("Delving deep into rectifiers", 2015), BatchNorms near the identity, so
    that a mistake about them shows.
    """
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, tensor in architecture(network).state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.zeros((), dtype=torch.int64)
        elif tensor.dim() > 1:
            deviation = (2 / tensor[0].numel()) ** 0.5
            tensors[name] = torch.empty(tensor.shape).normal_(0, deviation, generator=generator)
        elif name.endswith("bn3.weight"):  # ends a block of ResNet: fifty of them are added up
            tensors[name] = torch.full(tensor.shape, 0.2)
        elif name.endswith(("weight", "running_var")):
            tensors[name] = torch.empty(tensor.shape).uniform_(0.7, 1.3, generator=generator)
        else:  # biases and running means
            tensors[name] = torch.empty(tensor.shape).normal_(0, 0.05, generator=generator)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{network}.safetensors"
    save_file(tensors, path)
    return path
