"""A process that translates images and writes the results: on any machine, in any order."""

from __future__ import annotations

import errno
import secrets
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from art2real.core.networks import ResNetGenerator
from art2real.data.images import BadImage, ImageLimits, decode
from art2real.data.sources import read_entry
from art2real.errors import UserError
from art2real.translation.encode import QUALITY, encode
from art2real.translation.image import padded_size, translate_batch, translate_image
from art2real.translation.job import Model, Picture, TranslationJob, weights_sha256
from art2real.translation.translations import add_made
from art2real.translation.weights import load_generator

_LIMITS = ImageLimits(min_side=1)
_BATCH_PIXELS = 2**22
"""Pixels that go through a GPU at a time: 64 images of 256x256, 4 GiB for the published generator."""

# A name that is too long, or where a folder is: of one image, not of the disk.
_NAME_ERRORS = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)

_BEGINNING = ".translating-"
REMNANTS = f"{_BEGINNING}*.tmp"
"""The names of files that were not complete when their process was killed."""

_Decoded = np.ndarray | BadImage
_Batch = Sequence[tuple[Picture, _Decoded]]


class Translator:
    """Translates pictures one after the other; the generators are loaded once.

    On a GPU images of one size go through together. A CPU is as quick with one at a time, and then a result
    does not depend on what else is translated, to the bit.
    """

    def __init__(self, job: TranslationJob, device: torch.device) -> None:
        """
        Raises:
            UserError: a checkpoint cannot be read, or is not what it was when the work was planned.
        """
        self._job = job
        self._generators = {model: _load(model).to(device) for model in job.models}
        self._batch_pixels = _BATCH_PIXELS if device.type == "cuda" else 0
        self._threads = torch.get_num_threads()
        # A GPU would wait for images; beside a CPU that computes, one is ready in time.
        self._ahead = self._threads if device.type == "cuda" else 1

    def __call__(self, pictures: Sequence[Picture]) -> Generator[tuple[Picture, str], None, None]:
        """Makes what is missing of pictures; yields each, in order, with why it is left out, or nothing.

        Raises:
            UserError: results cannot be written, or an object store does not answer.
        """
        with ThreadPoolExecutor(self._threads) as pool:
            batch: list[tuple[Picture, _Decoded]] = []
            for each in self._decoded(pictures, pool):
                if batch and not self._fits(batch, each[1]):
                    yield from self._finished(batch, pool)
                    batch = []
                batch.append(each)
            yield from self._finished(batch, pool)

    def _decoded(
        self, pictures: Sequence[Picture], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[Picture, _Decoded]]:
        """The pictures in order, some of them decoded ahead."""
        waiting: deque[tuple[Picture, Future[_Decoded]]] = deque()
        remaining = iter(pictures)
        while True:
            for picture in islice(remaining, self._ahead + 1 - len(waiting)):
                waiting.append((picture, pool.submit(self._decode, picture)))
            if not waiting:
                return
            picture, pixels = waiting.popleft()
            yield picture, pixels.result()

    def _decode(self, picture: Picture) -> _Decoded:
        try:
            return decode(read_entry(picture.entry, _LIMITS, self._job.anonymous), _LIMITS)
        except BadImage as bad:
            return bad

    def _fits(self, batch: _Batch, pixels: _Decoded) -> bool:
        sizes = [padded_size(*each.shape[:2]) for _, each in batch if not isinstance(each, BadImage)]
        if isinstance(pixels, BadImage) or not sizes:
            return True
        tall, wide = padded_size(*pixels.shape[:2])
        return sizes[0] == (tall, wide) and (len(sizes) + 1) * tall * wide <= self._batch_pixels

    def _finished(self, batch: _Batch, pool: ThreadPoolExecutor) -> Iterator[tuple[Picture, str]]:
        images = [(picture, pixels) for picture, pixels in batch if not isinstance(pixels, BadImage)]
        reasons = {picture: _reason(bad) for picture, bad in batch if isinstance(bad, BadImage)}
        try:
            translations = self._translations(images) if images else []
        except (BadImage, torch.OutOfMemoryError) as bad:
            if len(batch) > 1:
                for each in batch:
                    yield from self._finished([each], pool)
            else:
                yield batch[0][0], _reason(bad)
            return
        written = {
            picture: pool.submit(self._write, picture, pixels, made)
            for (picture, pixels), made in zip(images, translations, strict=True)
        }
        for picture, _ in batch:
            yield picture, reasons[picture] if picture in reasons else written[picture].result()

    def _translations(self, batch: Sequence[tuple[Picture, np.ndarray]]) -> list[dict[Model, np.ndarray]]:
        """Of each picture, the translations that its missing results are made from."""
        images = [pixels for _, pixels in batch]
        missing = {result for picture, _ in batch for result in picture.missing}
        all_of_them = any(self._job.beside(picture.name) in picture.missing for picture, _ in batch)
        made: list[dict[Model, np.ndarray]] = [{} for _ in batch]
        for model, generator in self._generators.items():
            own = {self._job.result(model, picture.name) for picture, _ in batch}
            if all_of_them or own & missing:
                for each, translation in zip(made, _translated(generator, images), strict=True):
                    each[model] = translation
        return made

    def _write(self, picture: Picture, pixels: np.ndarray, made: Mapping[Model, np.ndarray]) -> str:
        """Writes what is missing of a picture; says why not, where that is for this picture alone."""
        job = self._job
        draw = {job.beside(picture.name): partial(side_by_side, [pixels, *made.values()])}
        draw |= {job.result(model, picture.name): partial(np.asarray, image) for model, image in made.items()}
        results = job.results(picture)
        for result in picture.missing:
            try:
                content = encode(draw[result](), job.image_format, job.quality or QUALITY)
                _write_file(job.out / result, content)
                add_made(job.out, results[result], len(content))
            except UserError as error:
                return f"unwritable: {result}: {error}"
            except OSError as error:
                why = error.strerror or str(error)
                if error.errno in _NAME_ERRORS:
                    return f"unwritable: {result}: {why}"
                raise UserError(f"{job.out / result} cannot be written: {why}") from None
        return ""


def side_by_side(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images of one size beside each other, a thin white gap between two, uint8 `[H, W', 3]`."""
    height = images[0].shape[0]
    gap = np.full((height, max(2, height // 100), 3), 255, np.uint8)
    return np.concatenate([part for image in images for part in (gap, image)][1:], axis=1)


def in_process(
    job: TranslationJob, pictures: Sequence[Picture]
) -> Generator[tuple[Picture, str], None, None]:
    """Translates in this process, on a GPU if there is one: see `Translator`."""
    if pictures:
        yield from Translator(job, best_device())(pictures)


def best_device() -> torch.device:
    """A GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _load(model: Model) -> ResNetGenerator:
    generator = load_generator(model.checkpoint)
    if weights_sha256(generator) != model.sha256:
        raise UserError(
            f"{model.checkpoint}: changed since the work was planned, or is not the same on all machines; "
            "run the command again"
        )
    return generator


def _translated(generator: ResNetGenerator, images: list[np.ndarray]) -> list[np.ndarray]:
    return [translate_image(generator, images[0])] if len(images) == 1 else translate_batch(generator, images)


def _write_file(target: Path, content: bytes) -> None:
    """Writes a file that is there whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not named after the target, whose name may be as long as names can be.
    temporary = target.with_name(f"{_BEGINNING}{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(target)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _reason(bad: BadImage | torch.OutOfMemoryError) -> str:
    if isinstance(bad, BadImage):
        return f"{bad.cause}: {bad.detail}"
    return "too_many_pixels: too large for the GPU's memory"
