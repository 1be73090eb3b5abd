"""Unpaired batches of paintings and photos, the same for the same seed, step and number of workers.

Each domain is an endless stream: a permutation of its images, then another one, and so on. Position p of the
stream goes to step p // (workers * batch), so that W workers with batch B see together what one worker with
batch W * B sees, and nothing about the order has to be kept in a checkpoint.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from art2real.core.patches import to_signed
from art2real.data.corpus import list_images
from art2real.data.images import BadImage, decode, scaled
from art2real.errors import UserError

log = logging.getLogger(__name__)

# Resized images are kept in memory up to this size for each domain: all of monet2photo at 286 pixels.
_CACHE_BYTES = 2 * 2**30
# Batches made ready before the step asks for them, and the threads that make them.
_BATCHES_AHEAD = 4
_THREADS = 2

# Longest image that is used whole: its longer side over its shorter one.
_LONGEST = 8

# First word of the seed of each random choice, so that no two choices share a random stream.
_ORDER, _CROP = 0, 1


class ImageStream:
    """The endless, shuffled stream of one domain's images."""

    def __init__(
        self,
        folder: Path,
        *,
        domain: int,
        seed: int,
        load_size: int,
        crop_size: int,
        flip: bool,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        self.folder = folder
        self.names = list_images(folder)
        self.broken: dict[str, str] = {}
        self._domain = domain
        self._seed = seed
        self._load_size = load_size
        self._crop_size = crop_size
        self._flip = flip
        self._room = cache_bytes
        self._cache: dict[str, np.ndarray] = {}
        self._orders: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.names)

    def crop(self, position: int) -> np.ndarray:
        """The training crop at a position of the stream, uint8 `[crop, crop, 3]`.

        In the place of a file that cannot be used comes the next one of the permutation that can.

        Raises:
            UserError: no file of the folder can be used.
        """
        image = self._usable(position)
        random = np.random.default_rng([_CROP, self._seed, self._domain, position])
        y, x = (int(random.integers(side - self._crop_size + 1)) for side in image.shape[:2])
        crop = image[y : y + self._crop_size, x : x + self._crop_size]
        return crop[:, ::-1] if self._flip and random.random() < 0.5 else crop

    def examples(self, count: int) -> np.ndarray:
        """Centre crops of images spread evenly over the folder, uint8 `[<= count, crop, crop, 3]`."""
        count = min(count, len(self))
        crops = []
        for number in range(count):
            image = self._load(self.names[number * len(self) // count])
            if image is not None:
                y, x = ((side - self._crop_size) // 2 for side in image.shape[:2])
                crops.append(image[y : y + self._crop_size, x : x + self._crop_size])
        return np.stack(crops) if crops else np.empty((0, self._crop_size, self._crop_size, 3), np.uint8)

    def _usable(self, position: int) -> np.ndarray:
        for ahead in range(len(self)):
            image = self._load(self._name(position + ahead))
            if image is not None:
                return image
        # A window over two permutations can miss an image, so the last word is with the whole folder.
        for name in self.names:
            image = self._load(name)
            if image is not None:
                return image
        name, reason = next(iter(self.broken.items()))
        raise UserError(
            f"{self.folder}: none of its {len(self)} images can be used (for example {name}: {reason}); "
            "look at the files, or name another folder"
        )

    def _name(self, position: int) -> str:
        epoch, place = divmod(position, len(self))
        order = self._orders.get(epoch)
        if order is None:
            order = np.random.default_rng([_ORDER, self._seed, self._domain, epoch]).permutation(len(self))
            for old in [old for old in self._orders.copy() if old < epoch - 1]:
                self._orders.pop(old, None)
            self._orders[epoch] = order
        return self.names[order[place]]

    def _load(self, name: str) -> np.ndarray | None:
        """The resized image, uint8 `[H, W, 3]`; None where the file cannot be used."""
        image = self._cache.get(name)
        if image is None and name not in self.broken:
            try:
                image = scaled(decode(self.folder / name), self._load_size, longest=_LONGEST)
            except BadImage as error:
                reason = f"{error.cause}: {error.detail}"
                if self.broken.setdefault(name, reason) is reason:
                    log.warning("%s is left out: %s", self.folder / name, reason)
            else:
                if image.nbytes <= self._room:
                    self._room -= image.nbytes
                    self._cache[name] = image
        return image


class UnpairedImages:
    """Batches of training crops of both domains.

    Args:
        paintings, photos: folders of images, searched with their sub-folders.
        load_size: shorter side that images are resized to, pixels.
        crop_size: side of the square that is cut out at random, pixels.
        flip: mirror half of the crops.
        batch_size: images of each domain that one worker gets for a step.
        seed: of the order, the crops and the mirroring.
        rank, world_size: which worker this is, of how many.

    Raises:
        UserError: a folder is missing, empty, or holds no image.
    """

    def __init__(
        self,
        paintings: Path,
        photos: Path,
        *,
        load_size: int,
        crop_size: int,
        flip: bool,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.paintings, self.photos = (
            ImageStream(folder, domain=domain, seed=seed, load_size=load_size, crop_size=crop_size, flip=flip)
            for domain, folder in enumerate((paintings, photos))
        )
        self._batch_size = batch_size
        self._rank = rank
        self._world_size = world_size

    @property
    def steps_per_epoch(self) -> int:
        """Steps, over all workers, in which every image of the larger folder is seen once."""
        return steps_per_epoch(len(self.paintings), len(self.photos), self._batch_size * self._world_size)

    @property
    def broken(self) -> dict[str, str]:
        """Path -> reason of each file met so far that cannot be used."""
        return {
            str(stream.folder / name): reason
            for stream in (self.paintings, self.photos)
            for name, reason in stream.broken.items()
        }

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Paintings and photos of a step, float32 `[B, 3, crop, crop]` in [-1, 1] each."""
        first = (step * self._world_size + self._rank) * self._batch_size
        positions = range(first, first + self._batch_size)
        return _signed(self.paintings, positions), _signed(self.photos, positions)

    def batches(self, first: int, stop: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """`batch` of each step from `first` to `stop - 1`, made ready in threads before it is asked for."""
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="images")
        ahead: deque[Future[tuple[torch.Tensor, torch.Tensor]]] = deque()
        try:
            for step in range(first, stop):
                while len(ahead) < _BATCHES_AHEAD and step + len(ahead) < stop:
                    ahead.append(pool.submit(self.batch, step + len(ahead)))
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def sample_paintings(self, count: int) -> torch.Tensor:
        """The same few paintings at every call, float32 `[<= count, 3, crop, crop]` in [-1, 1]."""
        return _to_batch(self.paintings.examples(count))


def steps_per_epoch(paintings: int, photos: int, batch: int) -> int:
    """Steps of `batch` images of each domain until the larger domain was seen once."""
    return -(-max(paintings, photos) // batch)


def _signed(stream: ImageStream, positions: range) -> torch.Tensor:
    return _to_batch(np.stack([stream.crop(position) for position in positions]))


def _to_batch(pixels: np.ndarray) -> torch.Tensor:
    return to_signed(torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))))
