"""One photo stylised by one painting, and the process that does many of these in turn."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from art2real.data.corpus import printable
from art2real.data.images import BadImage, decode, scaled
from art2real.data.pictures import save_picture
from art2real.errors import UserError
from art2real.evaluation.feature_task import best_device
from art2real.evaluation.networks import architecture, load
from art2real.evaluation.style_loss import DEPTH, NotFinite, StyleFeatures, TransferLoss, descend, style_grams
from art2real.evaluation.style_pairs import Pair, StyleSettings
from art2real.evaluation.weights import Weights, read_weights

LONGEST = 4
"""Longer side of what is taken of an image, in shorter sides: of a longer one, the middle."""

_STYLES_KEPT = 32  # 2.5 MB each
_TRIED_STEPS = 3


@dataclass(frozen=True)
class StyleJob:
    """All that a worker needs, beside the pair, to make a result."""

    content: Path
    style: Path
    out: Path
    settings: StyleSettings
    weights: Weights

    def absolute(self) -> StyleJob:
        """The same for a process with another working directory."""
        return replace(
            self,
            content=self.content.resolve(),
            style=self.style.resolve(),
            out=self.out.resolve(),
            weights=replace(self.weights, path=self.weights.path.resolve()),
        )


def style_features(weights: Weights) -> StyleFeatures:
    """VGG-19 as style transfer uses it; of its weights, those up to conv5_1 have to be there.

    Raises:
        UserError: the weights cannot be read, or are of another network.
    """
    layers = architecture("vgg19").get_submodule("features")
    assert isinstance(layers, nn.Sequential)
    module = nn.Sequential(OrderedDict(features=layers[:DEPTH]))
    needed = module.state_dict()
    load(module, {name: each for name, each in read_weights(weights).items() if name in needed}, weights)
    return StyleFeatures(layers[:DEPTH])


def stylise(
    features: StyleFeatures, content: np.ndarray, style: Mapping[str, torch.Tensor], settings: StyleSettings
) -> np.ndarray:
    """The content of one image in the style of another, uint8 `[H, W, 3]`.

    The descent starts from the content image, so nothing in it is drawn at random.

    Args:
        features: the network, on the device that is to compute.
        content: RGB, uint8 `[H, W, 3]`.
        style: `style_grams` of the other image.
        settings: steps and weight.

    Raises:
        NotFinite: the loss is no finite number somewhere on the way.
    """
    start = _to_tensor(content, features)
    with _exactly():
        found = descend(TransferLoss(features, start, style, settings.style_weight), start, settings.steps)
    return found.mul(255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


class Stylist:
    """A process that makes results, one after the other; the network is loaded once."""

    def __init__(self, job: StyleJob, device: torch.device) -> None:
        self._job = job
        self._features = style_features(job.weights).to(device)
        self._style = lru_cache(_STYLES_KEPT)(self._style_of)

    def __call__(self, pair: Pair) -> str:
        """Makes a result and writes it; says why not where its images do not allow it, else nothing.

        Raises:
            UserError: the result cannot be written.
        """
        try:
            style = self._style(pair.style)
        except BadImage as bad:
            return f"its painting {printable(pair.style)}: {bad.detail}"
        try:
            content = self._read(self._job.content / pair.content)
            pixels = stylise(self._features, content, style, self._job.settings)
        except BadImage as bad:
            return bad.detail
        except NotFinite:
            return f"the loss with {printable(pair.style)} is no finite number; try a lower --style-weight"
        except torch.OutOfMemoryError:
            return "too large for the GPU's memory; try a lower --size"
        save_picture(Image.fromarray(pixels), self._job.out / pair.result)
        return ""

    def seconds(self, pairs: Sequence[Pair]) -> float:
        """About how long a result takes here, from some steps of the first pair that can be read.

        Raises:
            UserError: no pair can.
        """
        reason = "there are none"
        for pair in pairs:
            try:
                start = _to_tensor(self._read(self._job.content / pair.content), self._features)
                style = self._style(pair.style)
            except BadImage as bad:
                reason = f"{printable(pair.content)}, {printable(pair.style)}: {bad.detail}"
                continue
            return self._seconds(TransferLoss(self._features, start, style, self._weight), start)
        raise UserError(f"{self._job.content}: no image can be stylised: {reason}")

    @property
    def _weight(self) -> float:
        return self._job.settings.style_weight

    def _seconds(self, loss: TransferLoss, start: torch.Tensor) -> float:
        computed = 0

        def counting(image: torch.Tensor) -> torch.Tensor:
            nonlocal computed
            computed += 1
            return loss(image)

        with _exactly():
            loss(start)  # the first pass chooses algorithms
            begun = time.perf_counter()
            with suppress(NotFinite):  # what was computed took its time all the same
                descend(counting, start, _TRIED_STEPS)
        return (time.perf_counter() - begun) / computed * (self._job.settings.steps + 1)

    def _style_of(self, name: str) -> dict[str, torch.Tensor]:
        image = _to_tensor(self._read(self._job.style / name), self._features)
        with torch.no_grad(), _exactly():
            return style_grams(self._features(image))

    def _read(self, path: Path) -> np.ndarray:
        return scaled(decode(path), self._job.settings.size, longest=LONGEST)


def in_process(job: StyleJob, pairs: Sequence[Pair]) -> Generator[tuple[Pair, str], None, None]:
    """Makes the results of pairs one after the other in this process, on a GPU if there is one.

    Yields:
        Each pair, and why it could not be made; nothing if it was.

    Raises:
        UserError: see `Stylist`.
    """
    if pairs:
        stylist = Stylist(job, best_device())
        for pair in pairs:
            yield pair, stylist(pair)


def _to_tensor(pixels: np.ndarray, features: StyleFeatures) -> torch.Tensor:
    """RGB, uint8 `[H, W, 3]` -> `[3, H, W]` in [0, 1], where the network is."""
    device = next(features.parameters()).device
    return torch.from_numpy(pixels.copy()).to(device).permute(2, 0, 1).contiguous() / 255


@contextmanager
def _exactly() -> Iterator[None]:
    """While it lasts, a GPU rounds as float32 does, and the same each time: line searches need that."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
