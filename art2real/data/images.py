"""The one decoder and the one resizer: banks, training, evaluation and serving see the same pixels.

Files come from anywhere, so nothing in them is trusted: limits are checked from the header before a pixel
is decoded, only plain raster formats are tried, and whatever goes wrong becomes a `BadImage` with a cause.
"""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image, ImageFile

from art2real.data.colour import ToSRGB, conversion_of, without_profile

# Only plain raster formats: EPS, for one, would start another program. Older Pillows lack some of them.
Image.init()
FORMATS = tuple(
    name
    for name in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "DIB", "PPM", "AVIF", "JPEG2000")
    if name in Image.OPEN
)

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Both would print lines about single files into the user's terminal; what matters of them is a BadImage here.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL(\.|$)")


@dataclass(frozen=True)
class ImageLimits:
    """What a file may ask for before it is refused."""

    max_bytes: int = 256 * 2**20
    """Largest file, in bytes."""
    max_pixels: int = 120_000_000
    """Most pixels (width times height), as the header tells them: 0.36 GB once decoded."""
    min_side: int = 16
    """Least width and height, in pixels."""


class BadImage(Exception):  # noqa: N818 - reads as what it is: an image that is bad
    """A file that cannot be used.

    `cause` is one of `empty`, `truncated`, `damaged`, `not_an_image`, `too_many_bytes`, `too_many_pixels`,
    `too_small`, `unreadable`; `detail` says it in words.
    """

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(cause, detail)
        self.cause = cause
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


def read(path: Path, limits: ImageLimits = ImageLimits()) -> bytes:
    """The bytes of a file, without reading one that is over the limit.

    Raises:
        BadImage: `unreadable`, `empty` or `too_many_bytes`.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            check_bytes(size, limits)
            # One byte more than there should be: a file may grow, or be a device that says it has no size.
            content = file.read(size + 1)
    except OSError as error:
        raise BadImage("unreadable", error.strerror or str(error)) from None
    check_bytes(len(content), limits)
    return content


def decode(
    source: Path | bytes, limits: ImageLimits = ImageLimits(), into: np.ndarray | None = None
) -> np.ndarray:
    """An image file as upright RGB, uint8 `[H, W, 3]`.

    EXIF orientation is applied, transparency is laid over white, 16-bit and float values are scaled to 8 bit,
    and of an animation the first frame is taken. The format is told from the content, never from the name.
    Colours are converted to sRGB where an embedded profile says that they are others.

    Args:
        source: a path, or the file's bytes.
        limits: what the file may ask for.
        into: memory, uint8 `[B]`, that the result may lie in if it is large enough: to decode into the same
            memory again and again saves a third of the time.

    Raises:
        BadImage: the file cannot be used.
    """
    content = source if isinstance(source, bytes) else read(source, limits)
    check_bytes(len(content), limits)
    # Some packages switch this on for the whole process; half a photo with a grey rest must not get in.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    with _opened(content, limits) as image:
        _check_size(image.width, image.height, limits)
        try:
            to_srgb = conversion_of(image)
            pixels = _ordinary_jpeg(content, image, into)
            if pixels is None:
                image.load()  # of a TIFF this turns it upright, and forgets that it had to be turned
            turn = _turn(image)
            if pixels is not None and turn is None and to_srgb is None:
                return pixels
            upright = image if pixels is None else Image.fromarray(pixels)
            if turn is not None:
                upright = upright.transpose(turn)
            return np.asarray(_to_rgb(upright, to_srgb))
        except BadImage:
            raise
        except Exception as error:
            raise _damage(error) from None


def scaled(pixels: np.ndarray, size: int, *, longest: float) -> np.ndarray:
    """An image scaled (antialiased bicubic) so that its shorter side has `size` pixels: uint8 `[h, w, 3]`.

    Args:
        pixels: RGB, uint8 `[H, W, 3]`.
        longest: the longer side in shorter sides; of a longer image the middle is taken.

    An image that has the wanted size already keeps its exact pixels.
    """
    image = Image.fromarray(pixels)
    side = min(image.size)
    width, height = (min(length, longest * side) for length in image.size)
    left, top = (image.width - width) / 2, (image.height - height) / 2
    target = (round(width * size / side), round(height * size / side))
    # The box cuts before it scales but lets the filter reach beyond: same pixels, and no giant panorama.
    box = (left, top, left + width, top + height)
    return np.asarray(image.resize(target, Image.Resampling.BICUBIC, box=box))


def square(pixels: np.ndarray, size: int) -> np.ndarray:
    """The centre of an image, its shorter side scaled to `size` pixels: `[size, size, 3]`; see `scaled`."""
    return scaled(pixels, size, longest=1)


def check_bytes(size: int, limits: ImageLimits) -> None:
    """Refuses a file by its size.

    Raises:
        BadImage: `empty` or `too_many_bytes`.
    """
    if size == 0:
        raise BadImage("empty", "the file has no bytes")
    if size > limits.max_bytes:
        raise BadImage("too_many_bytes", f"{size} bytes, more than {limits.max_bytes}")


def _check_size(width: int, height: int, limits: ImageLimits) -> None:
    if width * height > limits.max_pixels:
        raise BadImage("too_many_pixels", f"{width}x{height} pixels, more than {limits.max_pixels}")
    if min(width, height) < limits.min_side:
        raise BadImage("too_small", f"{width}x{height} pixels, a side below {limits.min_side}")


def _opened(content: bytes, limits: ImageLimits, *, with_profile: bool = True) -> Image.Image:
    """The image, of which the header has been read."""
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadImage("too_many_pixels", f"far more than {limits.max_pixels} pixels") from None
    except Exception:  # parsers of hostile bytes raise nearly anything
        bare = without_profile(content) if with_profile else None
    if bare is None:
        raise BadImage("not_an_image", "not in an image format that can be read")
    return _opened(bare, limits, with_profile=False)


def _damage(error: Exception) -> BadImage:
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return BadImage("truncated", "the file ends before the image does")
    return BadImage("damaged", f"the image cannot be decoded: {error or type(error).__name__}")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes an image upright."""
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # broken metadata is no reason to lose a good photo
        return None


def _ordinary_jpeg(content: bytes, image: Image.Image, into: np.ndarray | None) -> np.ndarray | None:
    """The pixels of a colour JPEG without a fault, in half of Pillow's time; the rest is left to Pillow."""
    if image.format != "JPEG" or image.mode != "RGB":
        return None
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(content)
        if (width, height) != image.size:
            return None  # the limits were checked for Pillow's reading of the header
        if into is not None and len(into) < 3 * width * height:
            into = None
        return simplejpeg.decode_jpeg(content, buffer=into)
    except ValueError:  # any warning of the decoder is one
        return None


def _to_rgb(image: Image.Image, to_srgb: ToSRGB | None) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _scaled(np.asarray(image), 65535).convert("RGB")
    if image.mode in ("I", "F"):
        values = np.asarray(image)
        if not np.isfinite(values).all():
            raise BadImage("damaged", "it has pixels that are not numbers")
        top = float(values.max())
        # 32-bit integers are 16-bit greys in practice; floats have no agreed white, so the scale is guessed.
        whites = (65535.0,) if image.mode == "I" else (1.0, 255.0, 65535.0)
        return _scaled(values, next((white for white in whites if top <= white), top)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        if to_srgb is not None:
            colours = to_srgb(layer.convert("RGB"))
            colours.putalpha(layer.getchannel("A"))
            layer = colours
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    if to_srgb is not None:
        return to_srgb(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _scaled(values: np.ndarray, white: float) -> Image.Image:
    grey = np.clip(values.astype(np.float32) * (255.0 / white), 0, 255)
    return Image.fromarray(np.rint(grey).astype(np.uint8))
