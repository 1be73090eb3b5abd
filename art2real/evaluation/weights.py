"""Weights of the networks that images are compared by: where they lie, and whether they are published.

Nothing is downloaded. The files are those that torch-fidelity, pytorch-fid and torchvision keep in torch's
cache; the eight hexadecimal digits in their names begin their SHA-256.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from art2real.data.checksums import file_sha256
from art2real.errors import UserError


@dataclass(frozen=True)
class Weights:
    """A file of weights that was found and looked at."""

    network: str
    """A key of `art2real.evaluation.networks.NETWORKS`."""
    path: Path
    sha256: str
    published: bool
    """Whether they are the weights that everybody compares with."""


# Where the weights are published, and by which names they lie in torch's cache.
ADDRESSES = {
    "inception": "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth",
    "vgg19": "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
    "resnet152": "https://download.pytorch.org/models/resnet152-394f9c45.pth",
}
_OTHER_NAMES = {"inception": ("pt_inception-2015-12-05-6726825d.pth",)}


def find_weights(network: str, given: Path | None = None, *, any_weights: bool = False) -> Weights:
    """The weights of a network: a given file, or the published one from torch's cache.

    Args:
        network: a key of `art2real.evaluation.networks.NETWORKS`.
        given: a file of weights; None: the cache is looked into.
        any_weights: whether other weights than the published ones will do.

    Raises:
        UserError: there is no such file, or it holds other weights.
    """
    address = ADDRESSES[network]
    path = _cached(network) if given is None else given
    if path.is_dir():
        raise UserError(f"{path}: a folder; give the file that holds the weights of {network}")
    try:
        sha256 = file_sha256(path)
    except FileNotFoundError:
        if given is not None:
            raise UserError(
                f"{path}: there is no such file of weights; it can be had from {address}"
            ) from None
        raise UserError(
            f"{path.name}, the weights of {network}, is not in {path.parent}: bring it there from {address}, "
            "or name the file with --weights"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    expected = _published_digits(address)
    published = sha256.startswith(expected)
    if not published and not any_weights:
        raise UserError(
            f"{path}: not the published weights of {network} (SHA-256 {sha256[:8]}..., not {expected}...); "
            f"bring them from {address}, or use these as they are with --any-weights"
        )
    return Weights(network, path, sha256, published)


def read_weights(weights: Weights) -> dict[str, torch.Tensor]:
    """The tensors of a file of weights by their names, on the CPU, in float32 where they are floats.

    The file is safetensors or torch's own format, told by its content; of the latter nothing but tensors and
    plain containers is read.

    Raises:
        UserError: the file is not there (on this machine), is another one by now, is damaged, or holds
            something else than finite tensors.
    """
    path = weights.path
    try:
        if file_sha256(path) != weights.sha256:
            raise UserError(
                f"{path}: the weights are not those that they were when the command began; run it again"
            )
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise UserError(f"{path}: the weights cannot be read: {error.strerror}") from None
    try:
        # A safetensors file begins with the length of its JSON, 8 bytes, and the JSON.
        if head[8:] == b"{":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # readers of foreign bytes raise nearly anything
        raise UserError(
            f"{path}: cannot be read as weights ({_first_line(error)}); bring the file again"
        ) from None
    if not isinstance(content, dict) or not all(isinstance(each, torch.Tensor) for each in content.values()):
        raise UserError(
            f"{path}: holds something else than tensors by name; give a state dict of {weights.network}"
        )
    tensors = {
        str(name): tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in content.items()
    }
    broken = next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None)
    if broken is not None:
        raise UserError(f"{path}: {broken} has values that are not numbers; bring the file again")
    return tensors


def _cached(network: str) -> Path:
    """Where torch's cache has the weights, or would have them."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    names = (ADDRESSES[network].rpartition("/")[2], *_OTHER_NAMES.get(network, ()))
    paths = [folder / name for name in names]
    return next((path for path in paths if path.is_file()), paths[0])


def _published_digits(address: str) -> str:
    """The beginning of the SHA-256 that a published file's name ends in."""
    digits = re.search(r"-([0-9a-f]{8})\.pth$", address)
    assert digits is not None, address
    return digits[1]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
