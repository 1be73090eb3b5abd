"""A generator as a folder for other programs: weights as safetensors, and what they are as JSON.

    model.safetensors     the weights, under the names of the published CycleGAN code
    config.json           architecture and its sizes, what goes in and comes out, checksum

The folder is checked when it is read, and `load_generator` takes it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from art2real import __version__
from art2real.config.tree import Networks
from art2real.core.networks import ResidualBlock, ResNetGenerator
from art2real.data.checksums import file_sha256
from art2real.errors import UserError
from art2real.translation.checkpoint import load_weights

FORMAT_VERSION = 1
ARCHITECTURE = "ResNetGenerator"
WEIGHTS = "model.safetensors"
CONFIG = "config.json"


def description(generator: ResNetGenerator) -> dict[str, Any]:
    """What a generator is, and what it takes and gives; every exported file carries it."""
    images = {
        "shape": ["batch", 3, "height", "width"],
        "dtype": "float32",
        "channels": "RGB",
        "range": [-1, 1],
    }
    return {
        "format_version": FORMAT_VERSION,
        "art2real": __version__,
        "architecture": ARCHITECTURE,
        **sizes(generator),
        "input": {"name": "image", **images, "height_and_width": "multiples of 4, at least 8"},
        "output": {"name": "translated", **images, "height_and_width": "those of the input"},
    }


def sizes(generator: ResNetGenerator) -> dict[str, int]:
    """Its `width` and `blocks`."""
    first = next(layer for layer in generator.model if isinstance(layer, torch.nn.Conv2d))
    blocks = sum(isinstance(layer, ResidualBlock) for layer in generator.model)
    return {"width": first.out_channels, "blocks": blocks}


def write_exported(generator: ResNetGenerator, folder: Path) -> None:
    """Writes a generator into a new folder.

    Raises:
        OSError: it cannot be written, or the folder is there.
    """
    folder.mkdir()
    weights = {name: value.cpu().contiguous() for name, value in generator.state_dict().items()}
    (folder / WEIGHTS).write_bytes(save(weights))  # `save_file` would let nobody else read it
    config = {**description(generator), "sha256": file_sha256(folder / WEIGHTS)}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def is_exported(folder: Path) -> bool:
    """Whether the folder holds an exported generator (its files may still be damaged)."""
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()


def read_exported(folder: Path) -> ResNetGenerator:
    """The generator of such a folder, on the CPU.

    Raises:
        UserError: it is damaged, or of another program.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}; export the generator again") from None
    if not isinstance(config, dict) or config.get("architecture") != ARCHITECTURE:
        raise UserError(f"{path} does not describe a generator that art2real-cli export wrote")
    if config.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{path} has format {config.get('format_version')}, this version reads format {FORMAT_VERSION}; "
            "use the art2real version that wrote it"
        )
    try:
        size = Networks(generator_width=config["width"], generator_blocks=config["blocks"])
    except (KeyError, ValueError):
        raise UserError(f"{path} does not say how large its network is; export the generator again") from None
    weights = folder / WEIGHTS
    if file_sha256(weights) != config.get("sha256"):
        raise UserError(f"{weights} is damaged (wrong checksum); export the generator again")
    generator = ResNetGenerator(size.generator_width, size.generator_blocks)
    try:
        load_weights(generator, load_file(weights), folder, WEIGHTS)
    except SafetensorError as error:
        raise UserError(f"{weights} is damaged ({error}); export the generator again") from None
    return generator
