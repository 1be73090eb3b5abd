"""Checkpoint folders: safetensors and one JSON file, complete or absent, checked when they are read.

    G.safetensors F.safetensors D_X.safetensors D_Y.safetensors      the networks
    G_average.safetensors F_average.safetensors                      moving averages, if the run makes them
    optimisers.safetensors pools.safetensors                         what training needs besides them
    checkpoint.json                                                  step, sizes, configuration, checksums

A folder with G.safetensors and checkpoint.json alone is a checkpoint for translation.
"""

from __future__ import annotations

import errno
import json
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from art2real import __version__
from art2real.config.tree import Networks
from art2real.data.checksums import file_sha256
from art2real.errors import UserError

FORMAT_VERSION = 1
_RECORD = "checkpoint.json"
_STEP = re.compile(r"step-(\d+)")


def write_checkpoint(
    folder: Path, parts: Mapping[str, Mapping[str, torch.Tensor]], record: Mapping[str, Any]
) -> None:
    """Writes `parts[name]` to `name.safetensors` each, and `record` with their checksums.

    The folder appears under its name when it is complete; a folder of that name is replaced.

    Raises:
        OSError: it cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    building.mkdir()
    try:
        files = {}
        for name, tensors in parts.items():
            path = building / f"{name}.safetensors"
            try:
                save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, path)
            except SafetensorError as error:  # what it makes of a full disk
                raise OSError(errno.EIO, str(error)) from None
            files[path.name] = file_sha256(path)
        whole = {"format_version": FORMAT_VERSION, "art2real": __version__, **record, "files": files}
        (building / _RECORD).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
        _move_over(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def is_checkpoint(folder: Path) -> bool:
    """Whether the folder holds a checkpoint (its files may still be damaged)."""
    return (folder / _RECORD).is_file()


def checkpoints_of(run: Path) -> list[tuple[int, Path]]:
    """Step and folder of each complete checkpoint of a run folder, oldest first."""
    found = []
    folder = run / "checkpoints"
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _STEP.fullmatch(path.name)
        if match and is_checkpoint(path):
            found.append((int(match[1]), path))
    return sorted(found)


def read_record(folder: Path) -> dict[str, Any]:
    """checkpoint.json of a checkpoint folder.

    Raises:
        UserError: it is missing, damaged, or of a newer format.
    """
    path = folder / _RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder} is not a checkpoint: it has no {_RECORD}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}; use another checkpoint of the run") from None
    if not isinstance(record, dict) or not isinstance(record.get("files"), dict):
        raise UserError(f"{path} is damaged; use another checkpoint of the run")
    if record.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{path} has format {record.get('format_version')}, this version reads format {FORMAT_VERSION}; "
            "use the art2real version that wrote it"
        )
    return record


def read_part(folder: Path, record: Mapping[str, Any], name: str) -> dict[str, torch.Tensor]:
    """The tensors of one file, on the CPU, after its checksum was compared.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = folder / f"{name}.safetensors"
    if path.name not in record["files"]:
        raise UserError(f"{folder} has no {path.name}: it holds weights for translation, not a whole run")
    _check_file(path, record)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}); use another checkpoint of the run") from None


def check_checkpoint(folder: Path) -> None:
    """Compares all files of a checkpoint with their checksums.

    Raises:
        UserError: one is missing or damaged.
    """
    record = read_record(folder)
    for name in record["files"]:
        _check_file(folder / name, record)


def average_name(network: str) -> str:
    """The part that holds the moving average of a network's weights."""
    return f"{network}_average"


def network_sizes(folder: Path, record: Mapping[str, Any]) -> Networks:
    """The sizes of the checkpoint's networks.

    Raises:
        UserError: the record does not say them.
    """
    try:
        return Networks.model_validate(record.get("networks"))
    except ValueError:
        raise UserError(
            f"{folder / _RECORD} does not say how large its networks are; it is damaged"
        ) from None


def load_weights(module: torch.nn.Module, weights: dict[str, torch.Tensor], source: Path, name: str) -> None:
    """Puts weights into a network.

    Raises:
        UserError: they are another network's.
    """
    try:
        module.load_state_dict(weights)
    except RuntimeError:
        raise UserError(
            f"{source}: the weights of {name} do not fit the sizes that the checkpoint names"
        ) from None


def _check_file(path: Path, record: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise UserError(f"{path} is missing; use another checkpoint of the run")
    if file_sha256(path) != record["files"][path.name]:
        raise UserError(f"{path} is damaged (wrong checksum); use another checkpoint of the run")


def _move_over(new: Path, folder: Path) -> None:
    if folder.exists():
        old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
        folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old)
    else:
        new.rename(folder)
