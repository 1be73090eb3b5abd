"""What `translate` is to make: plain values that travel to workers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from art2real.data.manifest import digest
from art2real.data.sources import Entry
from art2real.translation.image import WHOLE_PIXELS
from art2real.translation.translations import Made

SIDE_BY_SIDE = "side-by-side"
"""The folder of pictures of a painting beside its translations."""


@dataclass(frozen=True)
class Model:
    """A generator to translate with."""

    name: str
    checkpoint: Path
    """As `load_generator` takes it."""
    sha256: str
    """Of its weights, see `weights_sha256`."""
    width: int
    """Channels of its first layer: memory grows with them."""


@dataclass(frozen=True)
class Picture:
    """An image to translate."""

    entry: Entry
    shown: str
    """What messages and the record call it."""
    modified: int
    """As in `Made`."""
    name: str
    """Of its results, relative to their model's folder."""
    size: tuple[int, int] | None
    """As `planned_size` tells it."""
    missing: tuple[str, ...]
    """The results that are to be made, relative to the folder of all."""

    @property
    def pixels(self) -> int | None:
        """As far as they are known."""
        return None if self.size is None else self.size[0] * self.size[1]

    @property
    def is_large(self) -> bool:
        """Whether it does not go through a generator in one piece."""
        return (self.pixels or 0) > WHOLE_PIXELS


@dataclass(frozen=True)
class TranslationJob:
    """What holds for all images."""

    out: Path
    models: tuple[Model, ...]
    image_format: str
    quality: int | None
    """1 to 100; None: the format has none."""
    side_by_side: bool
    anonymous: bool

    def absolute(self) -> TranslationJob:
        """The same for a process with another working directory."""
        models = tuple(replace(each, checkpoint=each.checkpoint.resolve()) for each in self.models)
        return replace(self, out=self.out.resolve(), models=models)

    def result(self, model: Model, name: str) -> str:
        """Where a model's translation goes, relative to `out`: below the model's name where there are
        several."""
        return f"{model.name}/{name}" if len(self.models) > 1 else name

    def beside(self, name: str) -> str:
        """Where the picture of a painting and its translations goes, relative to `out`."""
        return f"{SIDE_BY_SIDE}/{name}"

    def results(self, picture: Picture) -> dict[str, Made]:
        """What decides each result of a picture, by its path relative to `out`."""
        name, entry = picture.name, picture.entry
        checkpoints = {self.result(model, name): model.sha256 for model in self.models}
        if self.side_by_side:
            checkpoints[self.beside(name)] = digest(model.sha256 for model in self.models)
        return {
            result: Made(
                result=result,
                source=picture.shown,
                source_bytes=entry.bytes,
                source_modified=picture.modified,
                checkpoint=checkpoint,
                format=self.image_format,
                quality=self.quality,
            )
            for result, checkpoint in checkpoints.items()
        }


DoPictures = Callable[[TranslationJob, Sequence[Picture]], Generator[tuple[Picture, str], None, None]]
"""Makes what is missing of pictures; yields each, in any order, with why it is left out, or nothing."""


def weights_sha256(generator: torch.nn.Module) -> str:
    """SHA-256 of a generator's weights, wherever they were read from."""
    checksum = hashlib.sha256()
    for name, values in sorted(generator.state_dict().items()):
        checksum.update(f"{name} {tuple(values.shape)} {values.dtype}\n".encode())
        checksum.update(values.cpu().contiguous().numpy().tobytes())
    return checksum.hexdigest()
