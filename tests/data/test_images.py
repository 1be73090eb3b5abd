"""The decoder and the resizer, on files that the test makes."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageFile

from art2real.data.images import BadImage, ImageLimits, decode, read, square
from tests.data.hard_files import BAD, GOOD, png_header, write_hard_folder
from tests.pictures import make_photo


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "hard"
    write_hard_folder(folder)
    return folder


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", GOOD)
def test_odd_files_decode_to_rgb(hard, name):
    image = decode(hard / name)
    assert (image.ndim, image.shape[2], image.dtype) == (3, 3, np.uint8)
    assert image.std() > 5, "an empty picture"


@pytest.mark.parametrize(("name", "cause"), BAD.items())
def test_bad_files_are_named_with_their_cause(hard, name, cause):
    with pytest.raises(BadImage) as bad:
        decode(hard / name)
    assert bad.value.cause == cause
    assert str(bad.value) == bad.value.detail != ""


def test_bytes_and_path_are_the_same(hard):
    path = hard / "good.jpg"
    assert np.array_equal(decode(path), decode(path.read_bytes()))


def test_a_missing_file_is_unreadable(tmp_path):
    with pytest.raises(BadImage) as bad:
        read(tmp_path / "gone.jpg")
    assert bad.value.cause == "unreadable"


# What must come out


def test_exif_orientation_is_applied(hard):
    turned = decode(hard / "exif_rotated.jpg")
    # 6: the camera was turned; the picture is shown rotated by 90 degrees clockwise.
    expected = np.rot90(make_photo(1, 64, 96), -1)
    assert turned.shape == (96, 64, 3)
    assert np.abs(turned.astype(int) - expected).mean() < 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(kind, orientation):
    """TIFF is turned by Pillow itself: turning it once more was the mistake to make."""
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24] = 255  # white in the top left quarter
    undo = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: np.transpose(a, (1, 0, 2)),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.transpose(np.rot90(a, 2), (1, 0, 2)),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation](upright)))
    result = decode(encoded(stored, kind, exif=exif))
    assert result.shape == upright.shape
    assert np.abs(result.astype(int) - upright).mean() < 3


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quality": 30},
        {"subsampling": 0},
        {"subsampling": 1},
        {"progressive": True},
        {"restart_marker_rows": 1},
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_is_what_pillow_makes_of_it(mode, options):
    data = encoded(Image.fromarray(make_photo(0, 61, 83)).convert(mode), "JPEG", **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    # The two may be built with different versions of the same decoder.
    assert np.abs(decode(data).astype(int) - expected).max() <= 1
    assert np.array_equal(decode(data + b"\0" * 100), decode(data))


def test_a_jpeg_that_its_decoder_warns_of_is_what_pillow_makes_of_it():
    data = encoded(Image.fromarray(make_photo(0, 64, 64)), "JPEG")
    scan = data.index(b"\xff\xda")
    odd = data[:scan] + b"\0\0\0" + data[scan:]
    with pytest.raises(ValueError, match="extraneous bytes"):
        simplejpeg.decode_jpeg(odd)
    assert np.array_equal(decode(odd), np.asarray(Image.open(io.BytesIO(odd))))


def test_limits_hold_for_the_header_that_is_decoded():
    """A second frame header with more pixels: whatever a decoder makes of it, it stays below the limit."""
    data = encoded(Image.fromarray(make_photo(0, 64, 64)), "JPEG")
    frame = data.index(b"\xff\xc0")
    larger = data[frame : frame + 5] + (4000).to_bytes(2, "big") * 2 + data[frame + 9 : frame + 19]
    for odd in (data[:frame] + larger + data[frame:], data[: frame + 19] + larger + data[frame + 19 :]):
        try:
            pixels = decode(odd, ImageLimits(max_pixels=64 * 64)).size
        except BadImage:
            continue
        assert pixels <= 3 * 64 * 64


def test_broken_exif_does_not_lose_the_photo():
    data = encoded(Image.fromarray(make_photo(0)), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff garbage")
    assert decode(data).shape == (64, 64, 3)


def test_16_bit_grey_is_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    for kind in ("PNG", "TIFF"):
        result = decode(encoded(Image.fromarray(ramp), kind))[..., 0]
        assert np.abs(result - ramp / 257.0).max() <= 0.5 + 1e-6


def test_16_bit_pgm_is_scaled():
    ramp = np.linspace(0, 65535, 32 * 32).astype(">u2").reshape(32, 32)
    result = decode(b"P5 32 32 65535\n" + ramp.tobytes())[..., 0]
    assert np.abs(result - ramp / 257.0).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("white", [1.0, 255.0])
def test_float_images_are_scaled_by_their_white(white):
    ramp = np.linspace(0, white, 32 * 32, dtype=np.float32).reshape(32, 32)
    result = decode(encoded(Image.fromarray(ramp), "TIFF"))[..., 0]
    assert result[0, 0] == 0
    assert result[-1, -1] == 255
    assert abs(int(result[16, 0]) - 128) <= 2


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_numbers_are_damage_not_black(value):
    """They were painted black, and what they were was never said."""
    ramp = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(32, 32)
    ramp[3, 5] = value
    with pytest.raises(BadImage, match="it has pixels that are not numbers") as bad:
        decode(encoded(Image.fromarray(ramp), "TIFF"))
    assert bad.value.cause == "damaged"


def test_alpha_lies_over_white():
    layer = np.zeros((16, 32, 4), np.uint8)
    layer[:, :16] = (200, 0, 0, 255)
    layer[:, 16:] = (0, 0, 0, 0)
    result = decode(encoded(Image.fromarray(layer), "PNG"))
    assert tuple(result[0, 0]) == (200, 0, 0)
    assert tuple(result[0, -1]) == (255, 255, 255)


def test_a_transparent_palette_colour_is_white():
    image = Image.new("P", (32, 32), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.paste(0, (0, 0, 16, 32))
    result = decode(encoded(image, "PNG", transparency=0))
    assert tuple(result[0, 0]) == (255, 255, 255)
    assert tuple(result[0, -1]) == (10, 20, 30)


def test_cmyk_keeps_its_colours(hard):
    assert np.abs(decode(hard / "cmyk.jpg").astype(int) - make_photo(1, 64, 96)).mean() < 8


def test_the_first_frame_of_an_animation_is_taken(hard):
    assert np.abs(decode(hard / "animated.gif").astype(int) - make_photo(0, 48, 48)).mean() < 20


# Limits


@pytest.mark.parametrize(
    ("limits", "cause"),
    [
        (ImageLimits(max_bytes=100), "too_many_bytes"),
        (ImageLimits(max_pixels=64 * 96 - 1), "too_many_pixels"),
        (ImageLimits(min_side=65), "too_small"),
    ],
)
def test_limits(hard, limits, cause):
    for source in (hard / "good.jpg", (hard / "good.jpg").read_bytes()):
        with pytest.raises(BadImage) as bad:
            decode(source, limits)
        assert bad.value.cause == cause


@pytest.mark.parametrize("side", [11_000, 60_000])
def test_a_bomb_is_refused_before_a_pixel_is_decoded(monkeypatch, side):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(BadImage) as bad:
        decode(png_header(side, side))
    assert bad.value.cause == "too_many_pixels"


def test_a_large_file_is_not_read_into_memory(tmp_path):
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(10 * 2**20)
    with pytest.raises(BadImage) as bad:
        read(tmp_path / "large.jpg", ImageLimits(max_bytes=2**20))
    assert bad.value.cause == "too_many_bytes"


def test_pillow_s_warnings_stay_off_the_terminal():
    code = (
        "from art2real.data.images import decode, BadImage\n"
        "from tests.data.hard_files import png_header\n"
        "try: decode(png_header(10_000, 10_000))\n"
        "except BadImage: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == done.stdout == ""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_truncated_files_are_refused_whatever_others_set(monkeypatch, kind, share):
    """Other packages switch LOAD_TRUNCATED_IMAGES on at import: half-grey photos then got in."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    whole = encoded(Image.fromarray(make_photo(0)), kind)
    with pytest.raises(BadImage) as bad, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decode(whole[: int(len(whole) * share)])
    assert bad.value.cause in ("truncated", "damaged", "not_an_image")


def test_formats_that_run_programs_are_not_tried():
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n"
    with pytest.raises(BadImage) as bad:
        decode(postscript)
    assert bad.value.cause == "not_an_image"


# The resizer


def test_square_keeps_exact_pixels_at_the_right_size():
    photo = make_photo(0, 64, 64)
    assert np.array_equal(square(photo, 64), photo)


@pytest.mark.parametrize(("height", "width"), [(64, 100), (100, 64), (65, 64), (20, 600)])
def test_square_is_resize_then_centre_crop(height, width):
    image = Image.fromarray(make_photo(0, height, width))
    scale = 32 / min(height, width)
    whole = image.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
    left, top = (whole.width - 32) // 2, (whole.height - 32) // 2
    expected = np.asarray(whole.crop((left, top, left + 32, top + 32))).astype(int)
    result = square(np.asarray(image), 32)
    assert result.shape == (32, 32, 3)
    assert np.abs(result - expected).mean() < 4  # the crop here is off by up to half a pixel


def test_square_is_antialiased():
    checks = np.indices((256, 256)).sum(0) % 2 * 255
    image = np.repeat(checks[..., None], 3, 2).astype(np.uint8)
    assert np.ptp(square(image, 32).astype(int)) < 16


@pytest.mark.parametrize("side", [64, 10])
def test_memory_that_is_given_holds_the_pixels_if_they_fit(side):
    """A damaged or larger photo before it leaves no trace in what comes after."""
    memory = np.full(3 * 48 * 48, 7, np.uint8)
    saved = io.BytesIO()
    Image.fromarray(make_photo(0, side, side)).save(saved, "JPEG", quality=95)
    content = saved.getvalue()
    with pytest.raises(BadImage):
        decode(content[: len(content) // 2], ImageLimits(min_side=1), memory)
    pixels = decode(content, ImageLimits(min_side=1), memory)
    assert np.shares_memory(pixels, memory) == (side == 10)
    assert np.array_equal(pixels, decode(content, ImageLimits(min_side=1)))
