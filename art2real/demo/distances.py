"""How far a picture is from the true photo: four distances, each of another kind. Lower is nearer in all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter


@dataclass(frozen=True)
class Distance:
    """A distance between a picture and the true photo, both uint8 `[H, W, 3]`."""

    name: str
    unit: str
    definition: str
    measure: Callable[[np.ndarray, np.ndarray], float]


def pixel_distance(picture: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square difference of all values, in grey levels (0 to 255)."""
    return float(np.sqrt(np.square(picture.astype(np.float64) - truth).mean()))


def structure_distance(picture: np.ndarray, truth: np.ndarray) -> float:
    """1 - SSIM of the luma, 0 to 2.

    Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004), equation
    13: Gaussian window of 1.5 pixels, K1 = 0.01, K2 = 0.03.
    """
    x, y = _luma(picture), _luma(truth)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = _window(x), _window(y)
    var_x, var_y = _window(x * x) - mean_x**2, _window(y * y) - mean_y**2
    covariance = _window(x * y) - mean_x * mean_y
    top = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    bottom = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return float(1 - (top / bottom).mean())


def colour_distance(picture: np.ndarray, truth: np.ndarray) -> float:
    """Mean CIE76 colour difference (CIELAB, D65) after a blur of 4 pixels, so that only colour counts."""
    blurred = (
        gaussian_filter(image.astype(np.float64), (4, 4, 0), mode="reflect") for image in (picture, truth)
    )
    first, second = (to_lab(image) for image in blurred)
    return float(np.sqrt(np.square(first - second).sum(axis=2)).mean())


def detail_distance(picture: np.ndarray, truth: np.ndarray) -> float:
    """Difference of the amount of detail, in decibels: the root mean square, over 8 rings of spatial
    frequency from 1/16 cycle a pixel to the finest, of the difference between the log power of the luma."""
    difference = spectrum(picture) - spectrum(truth)
    return float(np.sqrt(np.square(difference).mean()))


DISTANCES = (
    Distance(
        "Pixels",
        "grey levels",
        "Root mean square difference between picture and photo over all pixels and colours, 0 to 255.",
        pixel_distance,
    ),
    Distance(
        "Structure",
        "1 − SSIM",
        "One minus the structural similarity (Wang et al. 2004) of the brightness: do edges and shapes lie "
        "where they lie in the photo? It punishes detail that was invented in the wrong place.",
        structure_distance,
    ),
    Distance(
        "Colour",
        "ΔE",
        "Mean CIELAB colour difference after a blur of 4 pixels. About 2 can just be seen; a varnished "
        "painting is 10 to 30 away.",
        colour_distance,
    ),
    Distance(
        "Detail",
        "dB",
        "Root mean square difference of the power spectrum of the brightness, from 1/16 cycle a pixel to the "
        "finest: is there as much fine detail as in the photo, wherever it lies?",
        detail_distance,
    ),
)


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB values 0 to 255 -> CIELAB for the white D65, float64, same shape `[..., 3]`."""
    value = rgb.astype(np.float64) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / matrix.sum(axis=1)
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def spectrum(image: np.ndarray, rings: int = 8) -> np.ndarray:
    """Mean power of the luma in rings of spatial frequency, 1/16 to 1/2 cycle a pixel, float64 `[rings]` dB.

    A Hann window keeps the picture's borders from counting as detail; the floor is one grey level of noise.
    """
    luma = _luma(image)
    height, width = luma.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    window /= np.sqrt(np.square(window).mean())
    power = np.square(np.abs(np.fft.fft2((luma - luma.mean()) * window))) / luma.size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    edges = np.geomspace(1 / 16, 1 / 2, rings + 1)
    means = [power[(frequency >= low) & (frequency < high)].mean() for low, high in pairwise(edges)]
    return 10 * np.log10(np.array(means) + 1.0)


def _luma(image: np.ndarray) -> np.ndarray:
    return np.asarray(image.astype(np.float64) @ np.array([0.299, 0.587, 0.114]))


def _window(values: np.ndarray) -> np.ndarray:
    return np.asarray(gaussian_filter(values, 1.5, truncate=3.5))
