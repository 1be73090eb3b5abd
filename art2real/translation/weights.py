"""Generators from and to files."""

from __future__ import annotations

import os
from pathlib import Path

from art2real.config.tree import Networks
from art2real.core.networks import ResNetGenerator
from art2real.errors import UserError
from art2real.translation.checkpoint import (
    average_name,
    checkpoints_of,
    is_checkpoint,
    load_weights,
    network_sizes,
    read_part,
    read_record,
    write_checkpoint,
)
from art2real.translation.exported import is_exported, read_exported


def load_generator(path: str | os.PathLike[str]) -> ResNetGenerator:
    """The generator G (paintings to photos) of a checkpoint or an export, on the CPU, ready to translate.

    Where the run averages G's weights (`schedule.ema_decay`), the average is taken.

    Args:
        path: a checkpoint folder, a run folder, of which the newest checkpoint is taken, or a folder that
            `art2real-cli export --format safetensors` wrote.

    Returns:
        A module in evaluation mode: `[B, 3, H, W]` in [-1, 1] to the same, H and W divisible by 4.

    Raises:
        UserError: there is no checkpoint, or it is damaged.
    """
    if is_exported(Path(path)):
        return read_exported(Path(path)).eval().requires_grad_(False)
    folder = find_checkpoint(Path(path))
    record = read_record(folder)
    sizes = network_sizes(folder, record)
    generator = ResNetGenerator(sizes.generator_width, sizes.generator_blocks)
    average = average_name("G")
    name = average if f"{average}.safetensors" in record["files"] else "G"
    load_weights(generator, read_part(folder, record, name), folder, name)
    return generator.eval().requires_grad_(False)


def save_generator(generator: ResNetGenerator, sizes: Networks, folder: Path) -> None:
    """Writes G alone as a checkpoint folder that `load_generator` reads; it is complete or absent."""
    write_checkpoint(folder, {"G": generator.state_dict()}, {"networks": sizes.model_dump()})


def find_checkpoint(path: Path) -> Path:
    """The checkpoint folder that a path means.

    Raises:
        UserError: there is none.
    """
    if is_checkpoint(path):
        return path
    found = checkpoints_of(path)
    if found:
        return found[-1][1]
    if path.is_file() and path.suffix in (".onnx", ".pt2"):
        raise UserError(
            f"{path} is a graph for other programs; give the run, its checkpoint or an export as safetensors"
        )
    if not path.exists():
        raise UserError(f"checkpoint {path} does not exist; give a run folder, or one of its checkpoints")
    if (path / "config.yaml").is_file():
        raise UserError(f"run {path} has no checkpoint yet; train it further with --resume")
    raise UserError(
        f"{path} is neither a checkpoint nor a run folder; give runs/NNNN-name or one of its checkpoints"
    )
