"""ICC profiles that the tests make themselves (ICC.1:2010, the parts of it that a matrix or a grey needs)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

WHITE = np.array([0.9642, 1.0, 0.8249])
"""XYZ of the profile connection space's white, D50."""

SRGB = np.array([[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
"""XYZ (relative to D50) of sRGB's red, green and blue, as columns."""

ADOBE = np.array([[0.6097, 0.2053, 0.1492], [0.3111, 0.6257, 0.0632], [0.0195, 0.0609, 0.7446]])
"""The same of Adobe RGB (1998)."""


def matrix_profile(primaries: np.ndarray, gamma: float, space: bytes = b"RGB ") -> bytes:
    """A display profile: linear values are `value ** gamma`, XYZ is `primaries @ linear`."""
    tags = {name: _xyz(primaries[:, at]) for at, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    curve = _curve([round(gamma * 256)])
    return profile(space, {**tags, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def srgb_profile() -> bytes:
    """sRGB with its curve as a table of 1024 values, as scanners and cameras write it."""
    value = np.linspace(0, 1, 1024)
    curve = _curve(np.rint(65535 * srgb_to_linear(value)).astype(int).tolist())
    tags = {name: _xyz(SRGB[:, at]) for at, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return profile(b"RGB ", {**tags, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def grey_profile(gamma: float) -> bytes:
    """Luminance is `value ** gamma`."""
    return profile(b"GRAY", {b"kTRC": _curve([round(gamma * 256)])})


def cmyk_profile() -> bytes:
    """A printer whose four inks are filters: what CMY leave of white, and of that what black leaves.

    Its table has two steps an ink, between which a reader interpolates; PCS is Lab.
    """
    grid = []
    for cyan, magenta, yellow, black in np.ndindex(2, 2, 2, 2):
        light = np.array([1 - cyan, 1 - magenta, 1 - yellow], float) * (1 - black)
        grid.append(_lab16(SRGB @ light))
    identity = np.linspace(0, 65535, 2).astype(int)
    table = b"mft2" + bytes(4) + bytes([4, 3, 2, 0]) + _numbers(np.eye(3).ravel()) + struct.pack(">HH", 2, 2)
    table += np.tile(identity, 4).astype(">u2").tobytes()
    table += np.array(grid).astype(">u2").tobytes()
    table += np.tile(identity, 3).astype(">u2").tobytes()
    return profile(b"CMYK", {b"A2B0": table, b"A2B1": table}, kind=b"prtr", pcs=b"Lab ")


def profile(space: bytes, tags: dict[bytes, bytes], *, kind: bytes = b"mntr", pcs: bytes = b"XYZ ") -> bytes:
    """A profile of these tags, with the white point that each needs."""
    tags = {b"wtpt": _xyz(WHITE), **tags}
    at, index, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        index += name + struct.pack(">II", at + len(body), len(content))
        body += content
    header = struct.pack(">I4sI", at + len(body), bytes(4), 0x02400000) + kind + space + pcs + bytes(12)
    header += b"acsp" + bytes(24) + _numbers([0]) + _numbers(WHITE)
    return header[:68] + _numbers(WHITE) + bytes(128 - 80) + struct.pack(">I", len(tags)) + index + body


def srgb_to_linear(value: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, values in [0, 1]."""
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(linear: np.ndarray) -> np.ndarray:
    """Its inverse; what is outside of [0, 1] is clipped."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def _lab16(xyz: np.ndarray) -> list[int]:
    """Lab as the 16-bit numbers of version 2 profiles."""
    ratio = xyz / WHITE
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    light, a, b = 116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])
    return [round(light * 652.8), round((a + 128) * 256), round((b + 128) * 256)]


def _xyz(values: Sequence[float] | np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + _numbers(values)


def _numbers(values: Sequence[float] | np.ndarray) -> bytes:
    """s15Fixed16Number each."""
    return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)


def _curve(values: Sequence[int]) -> bytes:
    """One value: a gamma in 1/256; several: a table."""
    return b"curv" + bytes(4) + struct.pack(f">I{len(values)}H", len(values), *values)
