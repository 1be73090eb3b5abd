"""Images with colour profiles, against the formulas that the profiles are made from."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from art2real.data import colour, images
from art2real.data.colour import MAX_PROFILE_BYTES
from art2real.data.images import BadImage, decode
from tests.data.profiles import (
    ADOBE,
    SRGB,
    cmyk_profile,
    grey_profile,
    matrix_profile,
    profile,
    srgb_from_linear,
    srgb_profile,
)
from tests.pictures import make_photo

SWAPPED = SRGB[:, [2, 1, 0]]
PHOTO = make_photo(3, 48, 64)


def saved(image: Image.Image, icc: bytes | None, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, icc_profile=icc, **options)
    return file.getvalue()


def expected(pixels: np.ndarray, primaries: np.ndarray, gamma: float) -> np.ndarray:
    """What the values of a `matrix_profile` are in sRGB."""
    linear = (pixels / 255.0) ** (round(gamma * 256) / 256)
    return 255 * srgb_from_linear(linear @ (np.linalg.inv(SRGB) @ primaries).T)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).max())


@pytest.mark.parametrize(("primaries", "gamma"), [(ADOBE, 2.2), (SWAPPED, 2.2), (SRGB, 1.8)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_colours_of_other_primaries_become_srgb(primaries, gamma, kind):
    data = saved(Image.fromarray(PHOTO), matrix_profile(primaries, gamma), kind, lossless=True)
    assert difference(decode(data), expected(PHOTO, primaries, gamma)) <= 1.5
    assert difference(PHOTO, expected(PHOTO, primaries, gamma)) > 10


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_s_colours_too(progressive):
    image, icc = Image.fromarray(PHOTO), matrix_profile(SWAPPED, 2.2)
    options = {"quality": 95, "progressive": progressive}
    plain = decode(saved(image, None, "JPEG", **options))
    assert difference(decode(saved(image, icc, "JPEG", **options)), expected(plain, SWAPPED, 2.2)) <= 1.5


def test_a_turned_image_is_converted_and_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG", "TIFF"):
        plain = decode(saved(Image.fromarray(PHOTO), None, kind, exif=exif))
        turned = decode(saved(Image.fromarray(PHOTO), matrix_profile(ADOBE, 2.2), kind, exif=exif))
        assert turned.shape == (64, 48, 3)
        assert difference(turned, expected(plain, ADOBE, 2.2)) <= 1.5


@pytest.mark.parametrize("gamma", [1.8, 2.6])
def test_greys_become_srgb(gamma):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
    right = 255 * srgb_from_linear((ramp / 255.0) ** (round(gamma * 256) / 256))
    for kind in ("PNG", "JPEG", "TIFF"):
        plain = decode(saved(Image.fromarray(ramp), None, kind, quality=100))
        result = decode(saved(Image.fromarray(ramp), grey_profile(gamma), kind, quality=100))
        assert difference(plain[..., 0], ramp) <= 1
        assert difference(result[..., 1], right) <= 3
        assert np.ptp(result, axis=2).max() == 0


def test_inks_become_the_colours_of_their_profile():
    """The table is linear in Lab between the inks, so there, and on the way to black, it is known."""
    inks = {
        (0, 0, 0, 0): (255, 255, 255),
        (255, 0, 0, 0): (0, 255, 255),
        (0, 255, 0, 0): (255, 0, 255),
        (0, 0, 255, 0): (255, 255, 0),
        (255, 255, 0, 0): (0, 0, 255),
        (0, 0, 0, 255): (0, 0, 0),
        (0, 0, 0, 128): (118, 118, 118),  # L* = 49.8
    }
    squares = np.repeat(np.repeat(np.array([list(inks)], np.uint8), 16, 0), 16, 1)
    right = np.repeat(np.repeat(np.array([list(inks.values())]), 16, 0), 16, 1)
    image = Image.frombytes("CMYK", (16 * len(inks), 16), squares.tobytes())
    assert difference(decode(saved(image, cmyk_profile(), "TIFF")), right) <= 2
    # Without a profile the grey is another one.
    assert difference(decode(saved(image, None, "TIFF")), right) == 127 - 118
    jpeg = decode(saved(image, cmyk_profile(), "JPEG", quality=100))
    assert difference(jpeg[8, 8::16], right[8, 8::16]) <= 6


def test_colours_are_converted_before_they_are_laid_over_white():
    alpha = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    layer = np.dstack([PHOTO, alpha])
    share = alpha[..., None] / 255.0
    right = expected(PHOTO, ADOBE, 2.2) * share + 255 * (1 - share)
    for kind in ("PNG", "TIFF", "WEBP"):
        data = saved(Image.fromarray(layer), matrix_profile(ADOBE, 2.2), kind, lossless=True, exact=True)
        assert difference(decode(data), right) <= 2.5
    greys = np.dstack([PHOTO[..., 0], alpha])
    value = 255 * srgb_from_linear((greys[..., :1] / 255.0) ** 2.6015625)
    result = decode(saved(Image.fromarray(greys, "LA"), grey_profile(2.6)))
    assert difference(result, value * share + 255 * (1 - share)) <= 3.5


def test_a_palette_s_colours_are_converted():
    image = Image.fromarray(PHOTO).quantize(32)
    plain = np.asarray(image.convert("RGB"))
    data = saved(image, matrix_profile(SWAPPED, 2.2))
    assert difference(decode(data), expected(plain, SWAPPED, 2.2)) <= 1.5


@pytest.mark.parametrize(
    "icc", [srgb_profile(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()]
)
def test_srgb_itself_changes_no_pixel_and_keeps_the_quick_way(icc, monkeypatch):
    image = Image.fromarray(PHOTO)
    with_profile, plain = saved(image, icc, "JPEG"), saved(image, None, "JPEG")
    assert np.array_equal(decode(with_profile), decode(plain))
    monkeypatch.setattr(images, "_to_rgb", lambda *_: pytest.fail("the slow way"))
    assert np.array_equal(decode(with_profile), decode(plain))


def test_a_profile_is_read_once(monkeypatch):
    colour._conversion.cache_clear()
    icc = matrix_profile(ADOBE, 2.25)
    first = decode(saved(Image.fromarray(PHOTO), icc))
    monkeypatch.setattr(ImageCms, "ImageCmsProfile", lambda _: pytest.fail("read again"))
    assert np.array_equal(decode(saved(Image.fromarray(PHOTO), icc)), first)


# Profiles that are ignored


def unpacked(icc: bytes, method: int = 0) -> bytes:
    """A PNG whose profile is put in by hand, larger than Pillow writes or reads it, or packed otherwise."""
    data = saved(Image.fromarray(PHOTO), None)
    body = b"iCCPname\0" + bytes([method]) + zlib.compress(icc)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]


WRONG = {
    "of greys": grey_profile(1.0),
    "of inks": cmyk_profile(),
    "of a chain of profiles": profile(b"RGB ", {}, kind=b"link"),
    "without tags": profile(b"RGB ", {}),
    "cut off": matrix_profile(SWAPPED, 2.2)[:300],
    "no profile": b"\0" * 500,
    "empty": b"",
}


@pytest.mark.parametrize("icc", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_unfitting_profile_is_as_none(icc, kind):
    image = Image.fromarray(PHOTO)
    assert np.array_equal(decode(saved(image, icc, kind)), decode(saved(image, None, kind)))


def test_a_profile_of_colours_does_not_fit_greys_or_inks():
    for mode in ("L", "CMYK"):
        image = Image.fromarray(PHOTO).convert(mode)
        icc = matrix_profile(SWAPPED, 2.2)
        assert np.array_equal(decode(saved(image, icc, "TIFF")), decode(saved(image, None, "TIFF")))


def test_an_oversized_profile_is_as_none():
    icc = matrix_profile(SWAPPED, 2.2)
    image = Image.fromarray(PHOTO)
    padded = icc + bytes(MAX_PROFILE_BYTES - len(icc))
    assert not np.array_equal(decode(saved(image, padded, "TIFF")), PHOTO)
    assert np.array_equal(decode(saved(image, padded + b"\0", "TIFF")), PHOTO)


@pytest.mark.parametrize("data", [unpacked(bytes(2**21)), unpacked(matrix_profile(SWAPPED, 2.2), 7)])
def test_a_profile_that_pillow_refuses_does_not_lose_the_image(data):
    """A small chunk may hold gigabytes of zeros: Pillow then opened nothing, and it was `not_an_image`."""
    with pytest.raises(Exception):  # noqa: B017 - any
        Image.open(io.BytesIO(data), formats=["PNG"])
    assert np.array_equal(decode(data), PHOTO)


def test_a_png_that_is_damaged_beside_its_profile_is_still_no_image():
    data = unpacked(bytes(2**21))
    with pytest.raises(BadImage) as bad:
        decode(data.replace(b"IHDR", b"IHDr"))
    assert bad.value.cause == "not_an_image"


def test_a_profile_that_is_a_long_computation_is_ignored():
    """80 kB of it, a table of colours through each of 10,000 matrices, took 16 seconds."""
    matrix = b"matf" + bytes(4) + struct.pack(">HH", 3, 3) + np.eye(3).astype(">f4").tobytes() + bytes(12)
    count = 500
    chain = b"mpet" + bytes(4) + struct.pack(">HHI", 3, 3, count)
    chain += struct.pack(">II", 16 + 8 * count, len(matrix)) * count + matrix
    whole = matrix_profile(SWAPPED, 2.2)
    tags = {
        whole[at : at + 4]: whole[start : start + size]
        for at in range(132, 132 + 12 * 7, 12)
        for start, size in [struct.unpack(">II", whole[at + 4 : at + 12])]
    }
    icc = profile(b"RGB ", {**tags, b"D2B1": chain})
    icc = icc[:8] + b"\x04\x30\0\0" + icc[12:]
    assert np.array_equal(decode(saved(Image.fromarray(PHOTO), icc, "TIFF")), PHOTO)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=600), st.sampled_from(["PNG", "JPEG", "TIFF", "WEBP"]))
def test_random_bytes_change_nothing(icc, kind):
    image = Image.fromarray(PHOTO)
    assert np.array_equal(decode(saved(image, icc, kind)), decode(saved(image, None, kind)))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 255)), max_size=4), st.integers(0, 3))
def test_a_damaged_profile_loses_no_image(changes, which):
    icc = bytearray([matrix_profile(ADOBE, 2.2), srgb_profile(), grey_profile(1.8), cmyk_profile()][which])
    for at, value in changes:
        icc[at % len(icc)] = value
    image = Image.fromarray(PHOTO).convert(["RGB", "RGB", "L", "CMYK"][which])
    assert decode(saved(image, bytes(icc), "TIFF")).shape == PHOTO.shape
