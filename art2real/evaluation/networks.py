"""The networks whose features images are compared by.

- `inception`: Inception-v3 of the FID, ported by torch-fidelity from TensorFlow's graph of 2015-12-05: the
  pooled features of 2048 dimensions (Heusel et al., "GANs trained by a two time-scale update rule converge to
  a local Nash equilibrium", 2017), and those of its layers of 768 and 192 channels.
- `vgg19`: torchvision's VGG-19, fc7 after its ReLU.
- `resnet152`: torchvision's ResNet-152, what the last linear layer sees.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from art2real.errors import UserError
from art2real.evaluation.weights import Weights, read_weights

_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))

FeatureNetwork = Callable[[np.ndarray], dict[str, np.ndarray]]
"""Square RGB images, uint8 `[B, S, S, 3]` -> features by level, float32 `[B, D]`."""


@dataclass(frozen=True)
class Network:
    """A network as its users see it."""

    name: str
    image_size: int
    """Side of the images that it takes, pixels."""
    levels: Mapping[str, int]
    """Dimensions of the features of each level."""
    mean: tuple[float, float, float] = _IMAGENET[0]
    """Taken from a pixel's red, green and blue (0 to 255) before they are divided by `deviation`."""
    deviation: tuple[float, float, float] = _IMAGENET[1]


NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        network.name: network
        for network in (
            Network("inception", 299, {"2048": 2048, "768": 768, "192": 192}, (128,) * 3, (128,) * 3),
            Network("vgg19", 224, {"fc7": 4096}),
            Network("resnet152", 224, {"pool5": 2048}),
        )
    }
)


def make_network(weights: Weights, device: torch.device) -> FeatureNetwork:
    """A network with its weights, ready to turn images into features.

    An image's features depend on the others of its batch by rounding only. They are computed in float32, on
    GPUs too (no TF32), and there with algorithms that repeat.

    Raises:
        UserError: the weights cannot be read, or are of another network.
    """
    network = NETWORKS[weights.network]
    module = architecture(weights.network)
    load(module, read_weights(weights), weights)
    fold_batch_norms(module)
    return _FeatureNetwork(network, stages(weights.network, module), device)


class _FeatureNetwork:
    def __init__(self, network: Network, levels: dict[str, nn.Module], device: torch.device) -> None:
        self._device = device
        self._levels = {
            level: stage.to(device).to(memory_format=torch.channels_last) for level, stage in levels.items()
        }
        shape = (1, 3, 1, 1)
        self._mean = torch.tensor(network.mean, dtype=torch.float32, device=device).view(shape)
        self._deviation = torch.tensor(network.deviation, dtype=torch.float32, device=device).view(shape)

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        # Channels last is how the images lie already.
        x = torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2).float()
        x = (x - self._mean) / self._deviation
        features = {}
        with _exactly(self._device):
            for level, stage in self._levels.items():
                x = stage(x)
                features[level] = x.mean((2, 3)) if x.dim() == 4 else x
        return {level: values.cpu().numpy() for level, values in features.items()}


def architecture(network: str) -> nn.Module:
    """A network as its library defines it, in evaluation mode, without memory for its weights: see `load`."""
    # No time is spent on drawing weights that are thrown away.
    with torch.device("meta"):
        module = _inception() if network == "inception" else _torchvision(network)
    return module.eval().requires_grad_(False)


# The libraries take seconds to import: so they are when they are needed.


def _torchvision(network: str) -> nn.Module:
    import torchvision

    module: nn.Module = getattr(torchvision.models, network)(weights=None)
    return module


def _inception() -> nn.Module:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Inception(FeatureExtractorInceptionV3):
        """The constructor would unpickle the file of weights, whatever is in it: it gets one without any."""

        def __init__(self) -> None:
            nothing = io.BytesIO()
            torch.save({}, nothing)
            nothing.seek(0)
            super().__init__("inception", ["2048"], nothing)

        def load_state_dict(self, state: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
            return super().load_state_dict(state, *args, **kwargs) if state else None

    return Inception()


def load(module: nn.Module, tensors: dict[str, torch.Tensor], weights: Weights) -> None:
    """Gives a module its weights: all of them, and no others.

    Raises:
        UserError: the tensors are not those of the module.
    """
    difference = _difference(module.state_dict(), tensors)
    if difference is not None:
        raise UserError(f"{weights.path}: not weights of {weights.network}: {difference}")
    module.load_state_dict(tensors, assign=True)


def _difference(expected: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> str | None:
    """What is wrong with given weights; None if they fit."""
    # Counts of training steps; files of old do not have them.
    needed = [name for name in expected if not name.endswith(".num_batches_tracked")]
    missing = [name for name in needed if name not in given]
    unknown = [name for name in given if name not in expected]
    if missing:
        return f"{missing[0]} is missing" + (f", and {len(missing) - 1} others" if missing[1:] else "")
    if unknown:
        return f"the network has no {unknown[0]}" + (
            f", and {len(unknown) - 1} others" if unknown[1:] else ""
        )
    for name in needed:
        if given[name].shape != expected[name].shape:
            return f"{name} is {list(given[name].shape)}, not {list(expected[name].shape)}"
    return None


def fold_batch_norms(module: nn.Module) -> None:
    """Puts every BatchNorm that follows a convolution, in the order of registration, into its weights."""
    for parent in module.modules():
        children = list(parent.named_children())
        for (name, conv), (norm_name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())


def stages(network: str, module: nn.Module) -> dict[str, nn.Module]:
    """A network cut into runs of layers, each ending at a level; of maps of features the mean is taken."""
    children = dict(module.named_children())
    names = list(children)

    def run(first: str, last: str) -> nn.Sequential:
        chosen = names[names.index(first) : names.index(last) + 1]
        return nn.Sequential(*(children[name] for name in chosen))

    if network == "inception":
        return {
            "192": run("Conv2d_1a_3x3", "MaxPool_2"),
            "768": run("Mixed_5b", "Mixed_6e"),
            "2048": run("Mixed_7a", "Mixed_7c"),
        }
    if network == "vgg19":
        # The classifier: linear, ReLU, dropout; linear (fc7), ReLU, dropout; linear.
        classifier = children["classifier"]
        assert isinstance(classifier, nn.Sequential)
        return {"fc7": nn.Sequential(children["features"], children["avgpool"], nn.Flatten(), classifier[:5])}
    return {"pool5": run("conv1", "layer4")}


@contextmanager
def _exactly(device: torch.device) -> Iterator[None]:
    """While it lasts, a GPU rounds as float32 does, and the same each time."""
    if device.type != "cuda":
        yield
        return
    matmul = torch.backends.cuda.matmul
    before, matmul.allow_tf32 = matmul.allow_tf32, False
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        matmul.allow_tf32 = before
