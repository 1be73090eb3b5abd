"""Features of a run of files: a plain function of the run, on any machine, in any order."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from art2real.data.corpus import printable
from art2real.data.images import FORMATS, BadImage, ImageLimits, decode, read, square
from art2real.errors import UserError
from art2real.evaluation.feature_part import FeaturePart
from art2real.evaluation.networks import NETWORKS, FeatureNetwork, make_network
from art2real.evaluation.weights import Weights

FILES_PER_TASK = 64
"""So few that a small set too keeps many workers busy."""
LIMITS = ImageLimits()


@dataclass(frozen=True)
class SetFile:
    """A file of a set of images, as it was when its set was looked at."""

    name: str
    """Relative POSIX path."""
    sha256: str
    """Of its content; empty if that cannot be read."""
    reason: str = ""
    """Why it cannot be read."""


@dataclass(frozen=True)
class FeatureTask:
    """All that a worker needs to turn a run of files into features."""

    number: int
    folder: Path
    files: tuple[SetFile, ...]
    weights: Weights
    batch_size: int
    """Images that the network sees at a time."""

    def to_json(self) -> str:
        """ASCII, though names of files need not be valid Unicode."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> FeatureTask:
        """What `to_json` wrote."""
        content = json.loads(text)
        files = tuple(SetFile(**file) for file in content.pop("files"))
        weights = content.pop("weights")
        return cls(
            number=content["number"],
            folder=Path(content["folder"]),
            files=files,
            weights=Weights(**{**weights, "path": Path(weights["path"])}),
            batch_size=content["batch_size"],
        )


def look_at(folder: Path, names: Sequence[str]) -> list[SetFile]:
    """The files of a set with the hashes of their contents, in the order of their names."""
    with ThreadPoolExecutor(_cores()) as pool:
        return list(pool.map(lambda name: _look_at(folder, name), names))


def _look_at(folder: Path, name: str) -> SetFile:
    try:
        return SetFile(name, hashlib.sha256(read(folder / name, LIMITS)).hexdigest())
    except BadImage as bad:
        return SetFile(name, "", bad.detail)


def in_process(tasks: Sequence[FeatureTask]) -> Generator[FeaturePart, None, None]:
    """Does tasks one after the other in this process, on a GPU if there is one.

    Raises:
        UserError: see `do_task` and `make_network`.
    """
    if tasks:
        network = make_network(tasks[0].weights, best_device())
        for task in tasks:
            yield do_task(task, network)


def best_device() -> torch.device:
    """A GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def do_task(task: FeatureTask, network: FeatureNetwork) -> FeaturePart:
    """Decodes the images of a task and computes their features; a file that cannot be used is named.

    Every image is scaled (antialiased bicubic) so that its shorter side is what the network takes, and its
    centre cut out.

    Raises:
        UserError: a file is another one by now, or the features of an image are not finite.
    """
    part = _Part(task, network)
    # As many threads decode as compute: what limits the one limits the other.
    for file, result in _ahead(task, 2 * task.batch_size, torch.get_num_threads()):
        part.add(file, result)
    return part.finish()


class _Part:
    """A part while it grows: images wait until they fill a batch."""

    def __init__(self, task: FeatureTask, network: FeatureNetwork) -> None:
        self._task, self._network = task, network
        self._images: list[SetFile] = []
        self._skipped: list[tuple[str, str]] = []
        self._formats: dict[str, int] = {}
        self._waiting: list[np.ndarray] = []
        self._batches: list[dict[str, np.ndarray]] = []

    def add(self, file: SetFile, result: tuple[str, np.ndarray] | str) -> None:
        """A file with its format and pixels, or with why it cannot be used."""
        if isinstance(result, str):
            self._skipped.append((printable(file.name), result))
            return
        image_format, pixels = result
        self._formats[image_format] = self._formats.get(image_format, 0) + 1
        self._images.append(file)
        self._waiting.append(pixels)
        if len(self._waiting) == self._task.batch_size:
            self._compute()

    def finish(self) -> FeaturePart:
        if self._waiting:
            self._compute()
        levels = {
            level: np.concatenate(
                [np.empty((0, size), np.float32), *(batch[level] for batch in self._batches)]
            )
            for level, size in NETWORKS[self._task.weights.network].levels.items()
        }
        return FeaturePart(
            number=self._task.number,
            images=tuple(file.name for file in self._images),
            sha256=tuple(file.sha256 for file in self._images),
            skipped=tuple(self._skipped),
            formats=dict(sorted(self._formats.items())),
            levels=levels,
        )

    def _compute(self) -> None:
        features = self._network(np.stack(self._waiting))
        first = len(self._images) - len(self._waiting)
        for level, values in features.items():
            finite = np.isfinite(values).all(1)
            if not finite.all():
                image = printable(self._images[first + int(np.argmin(finite))].name)
                raise UserError(
                    f"{self._task.folder}/{image}: its features (level {level}) are not finite numbers; "
                    f"take other weights than {self._task.weights.path}, or leave the image out"
                )
        self._batches.append(features)
        self._waiting = []


def _ahead(
    task: FeatureTask, images: int, threads: int
) -> Iterator[tuple[SetFile, tuple[str, np.ndarray] | str]]:
    """The files of a task in order with what `_load` says of them, some of them decoded ahead."""
    size = NETWORKS[task.weights.network].image_size
    with ThreadPoolExecutor(threads) as pool:
        files = iter(task.files)
        waiting: deque[tuple[SetFile, Any]] = deque()
        while True:
            for file in islice(files, images - len(waiting)):
                waiting.append((file, pool.submit(_load, task.folder, file, size)))
            if not waiting:
                return
            file, future = waiting.popleft()
            yield file, future.result()


def _load(folder: Path, file: SetFile, size: int) -> tuple[str, np.ndarray] | str:
    """An image's format and pixels, uint8 `[size, size, 3]`, or why it cannot be used."""
    if file.reason:
        return file.reason
    path = folder / file.name
    try:
        content = read(path, LIMITS)
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise BadImage("unreadable", "it has another content")
    except BadImage as bad:
        raise UserError(
            f"{folder}/{printable(file.name)}: changed while features were computed, or is not the same on "
            f"all machines ({bad}); run the command again"
        ) from None
    try:
        pixels = square(decode(content, LIMITS), size)
    except BadImage as bad:
        return bad.detail
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        return str(image.format), pixels


def _cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
