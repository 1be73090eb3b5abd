"""A generator's layers on bands of rows: each gives any rows of its output, exactly as in the whole image.

A layer asks the one before it for the rows that its own depend on, so a band is computed with as many rows
beyond its border as the layers reach, and only the true border of the image is padded. Bands have the whole
width.

Instance normalisation (Ulyanov, Vedaldi, Lempitsky, "Instance Normalization: The Missing Ingredient for Fast
Stylization", 2016) depends on the whole image: its mean and variance are measured over all bands first.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from art2real.core.patches import to_signed
from art2real.translation.pixels import padded_size


class Rows(Protocol):
    """Features of an image, of which any rows can be had."""

    @property
    def height(self) -> int:
        """How many rows there are."""
        ...

    def rows(self, start: int, end: int) -> torch.Tensor:
        """Rows `start` to `end`, 0 <= start < end <= height: `[1, C, end - start, W]`, not to be changed."""
        ...


class ImageRows:
    """An image in [-1, 1], padded by reflection to a size that a generator takes."""

    def __init__(self, pixels: np.ndarray, like: torch.Tensor) -> None:
        """
        Args:
            pixels: RGB, uint8 `[H, W, 3]`.
            like: a tensor of the device and number format that the rows are to have.
        """
        self._pixels, self._like = pixels, like
        size = pixels.shape[:2]
        # The padded image is never made: which row and column of the image stands where is enough.
        self._from_row, self._from_column = (
            np.pad(np.arange(side), (0, wanted - side), mode="reflect")
            for side, wanted in zip(size, padded_size(*size), strict=True)
        )

    @property
    def height(self) -> int:
        return len(self._from_row)

    @property
    def width(self) -> int:
        """Pixels in a row."""
        return len(self._from_column)

    def rows(self, start: int, end: int) -> torch.Tensor:
        band = self._pixels[self._from_row[start:end]][:, self._from_column]
        signed = to_signed(torch.from_numpy(band).to(self._like.device)).to(self._like.dtype)
        return signed.permute(2, 0, 1)[None].contiguous()


class Convolved:
    """A convolution of odd size after padding by reflection, as at both ends and in the residual blocks."""

    def __init__(self, source: Rows, layer: nn.Conv2d) -> None:
        self._source, self._layer = source, layer
        self._reach = layer.kernel_size[0] // 2

    @property
    def height(self) -> int:
        return self._source.height

    def rows(self, start: int, end: int) -> torch.Tensor:
        first, last = start - self._reach, end + self._reach
        above, below = max(0, -first), max(0, last - self.height)
        rows = self._source.rows(first + above, last - below)
        return self._layer(F.pad(rows, (self._reach, self._reach, above, below), mode="reflect"))


class Halved:
    """A 3x3 convolution with stride 2 and a padding of zeros: row r depends on the rows 2r - 1 to 2r + 1."""

    def __init__(self, source: Rows, layer: nn.Conv2d) -> None:
        self._source, self._layer = source, layer

    @property
    def height(self) -> int:
        return self._source.height // 2

    def rows(self, start: int, end: int) -> torch.Tensor:
        above = 1 if start == 0 else 0
        rows = F.pad(self._source.rows(2 * start - 1 + above, 2 * end), (1, 1, above, 0))
        return F.conv2d(rows, self._layer.weight, self._layer.bias, stride=2)


class Doubled:
    """A transposed 3x3 convolution that doubles the sides: row r depends on the rows r/2 and, where r is odd,
    also the one below."""

    def __init__(self, source: Rows, layer: nn.ConvTranspose2d) -> None:
        self._source, self._layer = source, layer

    @property
    def height(self) -> int:
        return 2 * self._source.height

    def rows(self, start: int, end: int) -> torch.Tensor:
        first = start // 2
        rows = self._source.rows(first, min(end // 2 + 1, self._source.height))
        made: torch.Tensor = self._layer(rows)
        return made[:, :, start - 2 * first : end - 2 * first]


class Moments:
    """Mean and variance of each channel over rows that come in bands: `[C]` each, float64.

    Bands are joined by the formula of Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for
    Computing Sample Variances", 1979.
    """

    def __init__(self) -> None:
        self._count = 0
        self.mean = self._squares = torch.zeros(())

    def add(self, rows: torch.Tensor) -> None:
        """Takes a band in, `[1, C, R, W]`."""
        values = rows[0].flatten(1)
        size = values.shape[1]
        # Sums of float32 are fast; those of deviations from what is nearly the mean are exact enough as well.
        near = values.mean(1, keepdim=True)
        deviations = values - near
        rest = deviations.mean(1).double()
        mean = near[:, 0].double() + rest
        squares = (deviations.square_().mean(1).double() - rest.square()) * size
        if self._count == 0:
            self._count, self.mean, self._squares = size, mean, squares
            return
        count = self._count + size
        shift = mean - self.mean
        self._squares = self._squares + squares + shift.square() * (self._count * size / count)
        self.mean = self.mean + shift * (size / count)
        self._count = count

    @property
    def variance(self) -> torch.Tensor:
        """Of the rows themselves: the divisor is their number."""
        return self._squares / self._count


class Normalised:
    """Instance normalisation by the moments of the whole image, with or without a ReLU."""

    def __init__(self, source: Rows, layer: nn.InstanceNorm2d, moments: Moments, *, relu: bool) -> None:
        self._source, self._moments, self._eps, self._relu = source, moments, layer.eps, relu

    @property
    def height(self) -> int:
        return self._source.height

    def rows(self, start: int, end: int) -> torch.Tensor:
        rows = self._source.rows(start, end)
        mean, variance = self._moments.mean.to(rows), self._moments.variance.to(rows)
        made = F.batch_norm(rows, mean, variance, eps=self._eps)
        return made.relu_() if self._relu else made


class Added:
    """The sum of two, as at the end of a residual block."""

    def __init__(self, one: Rows, other: Rows) -> None:
        self._one, self._other = one, other

    @property
    def height(self) -> int:
        return self._one.height

    def rows(self, start: int, end: int) -> torch.Tensor:
        return self._one.rows(start, end) + self._other.rows(start, end)
