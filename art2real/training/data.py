"""Unpaired batches of paintings and photos, the same for the same seed, step and number of workers.

Each domain is an endless stream: a permutation of its images, then another one, and so on. A step takes the
next workers * batch of them, so that W workers with batch B see together what one worker with batch W * B
sees. All that a checkpoint has to keep is how many images were taken: the number of workers may change.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from art2real.core.patches import to_signed
from art2real.data.corpus import list_entries
from art2real.data.images import BadImage, ImageLimits, decode, scaled
from art2real.data.sources import read_entry
from art2real.data.sources.places import is_local
from art2real.errors import UserError

log = logging.getLogger(__name__)

# Resized images are kept in memory up to this size for each domain: all of monet2photo at 286 pixels.
_CACHE_BYTES = 2 * 2**30
# Threads that make batches before the step asks for them: from an object store they wait most of the time.
_THREADS = {"local": 2, "remote": 16}
_BATCHES_AHEAD = 2  # for each thread

_LIMITS = ImageLimits()

# Longest image that is used whole: its longer side over its shorter one.
_LONGEST = 8

# First word of the seed of each random choice, so that no two choices share a random stream.
_ORDER, _CROP = 0, 1


class ImageStream:
    """The endless, shuffled stream of one domain's images."""

    def __init__(
        self,
        place: str,
        *,
        domain: int,
        seed: int,
        load_size: int,
        crop_size: int,
        flip: bool,
        anonymous: bool = False,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        self.place = place
        self.entries = list_entries(place, anonymous=anonymous)
        self.broken: dict[str, str] = {}
        self._domain = domain
        self._seed = seed
        self._load_size = load_size
        self._crop_size = crop_size
        self._flip = flip
        self._anonymous = anonymous
        self._room = cache_bytes
        self._cache: dict[int, np.ndarray] = {}
        self._orders: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.entries)

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
            image = self._load(number * len(self) // count)
            if image is not None:
                y, x = ((side - self._crop_size) // 2 for side in image.shape[:2])
                crops.append(image[y : y + self._crop_size, x : x + self._crop_size])
        return np.stack(crops) if crops else np.empty((0, self._crop_size, self._crop_size, 3), np.uint8)

    def _usable(self, position: int) -> np.ndarray:
        for ahead in range(len(self)):
            image = self._load(self._number(position + ahead))
            if image is not None:
                return image
        # A window over two permutations can miss an image, so the last word is with the whole folder.
        for number in range(len(self)):
            image = self._load(number)
            if image is not None:
                return image
        name, reason = next(iter(self.broken.items()))
        raise UserError(
            f"{self.place}: none of its {len(self)} images can be used (for example {name}: {reason}); "
            "look at the files, or name other images"
        )

    def _number(self, position: int) -> int:
        epoch, place = divmod(position, len(self))
        order = self._orders.get(epoch)
        if order is None:
            order = np.random.default_rng([_ORDER, self._seed, self._domain, epoch]).permutation(len(self))
            for old in [old for old in self._orders.copy() if old < epoch - 1]:
                self._orders.pop(old, None)
            self._orders[epoch] = order
        return int(order[place])

    def _load(self, number: int) -> np.ndarray | None:
        """The resized image, uint8 `[H, W, 3]`; None where the file cannot be used."""
        image = self._cache.get(number)
        entry = self.entries[number]
        if image is None and entry.source not in self.broken:
            try:
                content = read_entry(entry, _LIMITS, self._anonymous)
                image = scaled(decode(content, _LIMITS), self._load_size, longest=_LONGEST)
            except BadImage as error:
                if error.cause == "unreadable" and not is_local(entry.file):
                    # It was there when it was listed: the store changed its mind, not the image.
                    raise UserError(f"{self.place}: {entry.source}: {error.detail}") from None
                reason = f"{error.cause}: {error.detail}"
                if self.broken.setdefault(entry.source, reason) is reason:
                    log.warning("%s: %s is left out: %s", self.place, entry.source, reason)
            else:
                if image.nbytes <= self._room:
                    self._room -= image.nbytes
                    self._cache[number] = image
        return image


class UnpairedImages:
    """Batches of training crops of both domains.

    Args:
        paintings, photos: where the images are: see `art2real.data.corpus.list_entries`.
        load_size: shorter side that images are resized to, pixels.
        crop_size: side of the square that is cut out at random, pixels.
        flip: mirror half of the crops.
        batch_size: images of each domain that one worker gets for a step.
        seed: of the order, the crops and the mirroring.
        rank, world_size: which worker this is, of how many.
        anonymous: whether object stores are asked without credentials.

    Raises:
        UserError: a place is missing, empty, or holds no image.
    """

    def __init__(
        self,
        paintings: str,
        photos: str,
        *,
        load_size: int,
        crop_size: int,
        flip: bool,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        anonymous: bool = False,
    ) -> None:
        self.paintings, self.photos = (
            ImageStream(
                place,
                domain=domain,
                seed=seed,
                load_size=load_size,
                crop_size=crop_size,
                flip=flip,
                anonymous=anonymous,
            )
            for domain, place in enumerate((paintings, photos))
        )
        self.waited = 0.0
        """Seconds that `batches` kept its caller waiting."""
        self._batch_size = batch_size
        self._rank = rank
        self._world_size = world_size

    @property
    def per_step(self) -> int:
        """Images of each domain that all workers together take for a step."""
        return self._batch_size * self._world_size

    def epoch(self, position: int) -> float:
        """How often every image of the larger domain was seen when `position` images were taken."""
        return position / max(len(self.paintings), len(self.photos))

    @property
    def broken(self) -> dict[str, str]:
        """Name -> reason of each file met so far that cannot be used."""
        return {
            f"{stream.place}: {name}": reason
            for stream in (self.paintings, self.photos)
            for name, reason in stream.broken.copy().items()
        }

    def batch(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """This worker's paintings and photos, float32 `[B, 3, crop, crop]` in [-1, 1] each, of the step
        before which `position` images were taken."""
        first = position + self._rank * self._batch_size
        positions = range(first, first + self._batch_size)
        return _signed(self.paintings, positions), _signed(self.photos, positions)

    def batches(self, position: int, steps: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """`batch` of so many steps from `position` on, made ready in threads before it is asked for."""
        places = [stream.entries[0].file for stream in (self.paintings, self.photos)]
        threads = _THREADS["local" if all(map(is_local, places)) else "remote"]
        pool = ThreadPoolExecutor(threads, thread_name_prefix="images")
        ahead: deque[Future[tuple[torch.Tensor, torch.Tensor]]] = deque()
        sent = 0
        try:
            for step in range(steps):
                while sent < min(steps, step + _BATCHES_AHEAD * threads):
                    ahead.append(pool.submit(self.batch, position + sent * self.per_step))
                    sent += 1
                begun = time.perf_counter()
                batch = ahead.popleft().result()
                self.waited += time.perf_counter() - begun
                yield batch
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
