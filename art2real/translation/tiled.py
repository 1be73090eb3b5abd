"""Images larger than the memory of a whole pass, exactly: by bands of rows, layer after layer.

The generator normalises by statistics of the whole image. Bands that are translated by themselves get other
statistics, and show seams. Here every layer is computed over all bands before the layer after it:

    head    image -> first convolution -> statistics; again, and on to the second -> statistics; again, and on
            to the third, at a quarter of the side, which is kept
    blocks  two kept arrays: the features, and what the block at work makes of them
    tail    kept features -> statistics of the first and the second doubling, and then the image

Head and tail are computed up to three times instead of kept, which adds 12 % of work. What is kept takes 128
bytes a pixel for the published generator (width 64); a whole pass takes 1 KiB.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from art2real.core.networks import ResidualBlock, ResNetGenerator
from art2real.data.images import BadImage
from art2real.translation.bands import Added, Convolved, Doubled, Halved, ImageRows, Moments, Normalised, Rows
from art2real.translation.pixels import MULTIPLE, to_pixels
from art2real.translation.stored_rows import StoredRows, stored_rows

BAND_PIXELS = 2**18
"""Pixels of the image in a band: 0.3 to 0.4 GB at work for the published generator."""

MEMORY = 4 * 2**30
"""Bytes of kept features beyond which they lie in a temporary file."""

MAX_WIDTH = 2**17
"""Widest image: a band has four rows at least."""


def translate_tiled(
    generator: ResNetGenerator, pixels: np.ndarray, *, band_pixels: int = BAND_PIXELS, memory: int = MEMORY
) -> np.ndarray:
    """G(image), as `translate_image` gives it but for the order of additions: uint8 `[H, W, 3]`.

    Args:
        generator: on any device.
        pixels: RGB, uint8 `[H, W, 3]`.
        band_pixels: pixels of a band, roughly.
        memory: bytes of kept features beyond which they lie in a temporary file.

    Raises:
        BadImage: it is wider than `MAX_WIDTH`.
        UserError: the disk has no room for the temporary file.
    """
    height, width = pixels.shape[:2]
    result = np.empty_like(pixels)
    for start, rows in translated_bands(generator, pixels, band_pixels=band_pixels, memory=memory):
        band = to_pixels(rows)[0, : height - start, :width]
        result[start : start + len(band)] = band
    return result


@torch.inference_mode()
def translated_bands(
    generator: ResNetGenerator, pixels: np.ndarray, *, band_pixels: int = BAND_PIXELS, memory: int = MEMORY
) -> Iterator[tuple[int, torch.Tensor]]:
    """The bands of G(padded image), from the top: first row, and `[1, 3, R, W]` in [-1, 1].

    Arguments and errors are those of `translate_tiled`.
    """
    layers = list(generator.model.children())
    outer, second, third, last = (layer for layer in layers if isinstance(layer, nn.Conv2d))
    first_up, second_up = (layer for layer in layers if isinstance(layer, nn.ConvTranspose2d))
    norms = (layer for layer in layers if isinstance(layer, nn.InstanceNorm2d))
    image = ImageRows(pixels, outer.weight)
    if image.width > MAX_WIDTH:
        raise BadImage("too_many_pixels", f"{image.width} pixels wide, more than {MAX_WIDTH}")
    bands = _Bands(image.height // MULTIPLE, band_pixels // (image.width * MULTIPLE))
    shape = (third.out_channels, image.height // MULTIPLE, image.width // MULTIPLE)
    with stored_rows(2, shape, outer.weight, memory) as (features, made):
        head = bands.normalised(Convolved(image, outer), next(norms))
        head = bands.normalised(Halved(head, second), next(norms))
        moments = bands.fill(features, Halved(head, third))
        bands.fill(features, Normalised(features, next(norms), moments, relu=True))
        for layer in layers:
            if isinstance(layer, ResidualBlock):
                _apply(layer, features, made, bands)
        tail = bands.normalised(Doubled(features, first_up), next(norms))
        tail = bands.normalised(Doubled(tail, second_up), next(norms))
        out = Convolved(tail, last)
        for band in bands.of(out):
            yield band.start, out.rows(band.start, band.stop).tanh_()


def _apply(block: ResidualBlock, features: StoredRows, made: StoredRows, bands: _Bands) -> None:
    """The features become those after a block; `made` is room for what lies between."""
    layers = list(block.conv_block.children())
    first, second = (layer for layer in layers if isinstance(layer, nn.Conv2d))
    first_norm, second_norm = (layer for layer in layers if isinstance(layer, nn.InstanceNorm2d))
    moments = bands.fill(made, Convolved(features, first))
    moments = bands.fill(made, Convolved(Normalised(made, first_norm, moments, relu=True), second))
    bands.fill(features, Added(features, Normalised(made, second_norm, moments, relu=False)))


class _Bands:
    """How an image is cut: a band of R rows at a quarter of the side has 4R rows of the image."""

    def __init__(self, quarter: int, rows: int) -> None:
        """
        Args:
            quarter: rows of the image at a quarter of its side.
            rows: those of a band; at least one is taken.
        """
        starts = range(0, quarter, max(1, rows))
        self._quarter = quarter
        self._bands = [(start, min(start + starts.step, quarter)) for start in starts]

    def of(self, source: Rows) -> list[range]:
        """The rows of each band, from the top."""
        scale = source.height // self._quarter
        return [range(start * scale, end * scale) for start, end in self._bands]

    def normalised(self, source: Rows, layer: nn.InstanceNorm2d) -> Rows:
        """After normalisation, whose moments are measured here, and ReLU."""
        moments = Moments()
        for band in self.of(source):
            moments.add(source.rows(band.start, band.stop))
        return Normalised(source, layer, moments, relu=True)

    def fill(self, target: StoredRows, source: Rows) -> Moments:
        """Puts all rows of `source` into `target`, and returns their moments.

        `source` may be computed from `target`, each row from those next to it: a band is written when the
        band after it, which needs the old row above, has been computed.
        """
        moments = Moments()
        waiting: tuple[int, torch.Tensor] | None = None
        for band in self.of(source):
            rows = source.rows(band.start, band.stop)
            moments.add(rows)
            if waiting:
                target.write(*waiting)
            waiting = band.start, rows
        if waiting:
            target.write(*waiting)
        return moments
