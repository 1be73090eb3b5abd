"""The image pool: discriminators are also shown generated images of earlier steps.

Shrivastava et al., "Learning from Simulated and Unsupervised Images through Adversarial Training", CVPR 2017,
section 2.3; size 50 and the rule of exchange as in the published CycleGAN.
"""

from __future__ import annotations

import numpy as np
import torch


class ImagePool:
    """Keeps up to `size` generated images on the device they come from; size 0 keeps none.

    `images` `[n, 3, H, W]`, n <= size, is the whole state: assign it to restore a pool.
    """

    def __init__(self, size: int) -> None:
        if size < 0:
            raise ValueError(f"the size of a pool must be at least 0, got {size}")
        self.size = size
        self._images: torch.Tensor | None = None

    @property
    def images(self) -> torch.Tensor:
        """The stored images `[n, 3, H, W]`; `[0, 3, 0, 0]` before the first query."""
        return torch.empty(0, 3, 0, 0) if self._images is None else self._images

    @images.setter
    def images(self, images: torch.Tensor) -> None:
        if images.ndim != 4 or len(images) > self.size:
            raise ValueError(f"{list(images.shape)} does not fit a pool of {self.size} images")
        self._images = images.detach().clone() if len(images) else None

    def query(self, images: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
        """What the discriminator sees instead of `images` `[B, 3, H, W]`, in the same shape and detached.

        One image after the other: while the pool has room, it is stored and returned. Then, with an even
        chance, it is returned, or it takes the place of a stored one, which is returned.

        Raises:
            ValueError: the stored images have another shape.
        """
        images = images.detach()
        if self.size == 0:
            return images
        if self._images is None:
            self._images = images[:0].clone()
        if self._images.shape[1:] != images.shape[1:]:
            raise ValueError(
                f"the pool holds images of {list(self._images.shape[1:])}, got {list(images.shape[1:])}"
            )
        shown = images.clone()
        for place, image in enumerate(images):
            if len(self._images) < self.size:
                self._images = torch.cat([self._images, image[None]])
            elif random.random() < 0.5:
                stored = int(random.integers(self.size))
                shown[place] = self._images[stored]
                self._images[stored] = image
        return shown
