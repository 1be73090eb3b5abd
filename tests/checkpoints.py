"""Checkpoints of tiny generators with drawn weights."""

from __future__ import annotations

from pathlib import Path

import torch

from art2real.config.tree import Networks
from art2real.core.networks import ResNetGenerator, initialise
from art2real.translation.weights import save_generator


def write_checkpoint(path: Path, seed: int = 0) -> Path:
    """A generator whose translations are seen to be made by it; another one for another seed."""
    generator = ResNetGenerator(4, 1)
    initialise(generator, torch.Generator().manual_seed(seed))
    save_generator(generator, Networks(generator_width=4, generator_blocks=1), path)
    return path
