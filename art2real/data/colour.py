"""Colours of images with an embedded ICC profile, as sRGB.

Profiles come from strangers, like the images that they lie in: one that is damaged, oversized or does not fit
to its image is ignored, so that the image is what it would be without.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

MAX_PROFILE_BYTES = 4 * 2**20
"""Larger profiles are ignored: those of displays have kilobytes, those of printing presses up to 3 MB."""

# What is measured is kept (perceptual tables are each vendor's own taste), white stays white, and black ink
# becomes black instead of dark grey.
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION

# Mode of an image -> the mode in which its colours are converted. Others (16 bit, Lab) are left alone.
_MODES = {
    **dict.fromkeys(("1", "L", "LA", "La"), "L"),
    **dict.fromkeys(("P", "PA", "RGB", "RGBA", "RGBa", "RGBX"), "RGB"),
    "CMYK": "CMYK",
}
_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_CLASSES = ("scnr", "mntr", "prtr", "spac")
_KEPT = 16
_PNG = b"\x89PNG\r\n\x1a\n"
_FIRST_CHUNKS = 32


@dataclass(frozen=True)
class ToSRGB:
    """Converts the colours of an image."""

    mode: str
    """`L`, `RGB` or `CMYK`."""
    transform: ImageCms.ImageCmsTransform

    def __call__(self, image: Image.Image) -> Image.Image:
        """The colours of an 8-bit image, in `RGB`; transparency is not looked at."""
        return self.transform.apply(image if image.mode == self.mode else image.convert(self.mode))


def conversion_of(image: Image.Image) -> ToSRGB | None:
    """What makes sRGB of an opened image's colours; None: they are taken as they are."""
    profile, mode = image.info.get("icc_profile"), _MODES.get(image.mode)
    if not isinstance(profile, bytes) or mode is None or len(profile) > MAX_PROFILE_BYTES:
        return None
    return _conversion(profile, mode)


def without_profile(png: bytes) -> bytes | None:
    """A PNG without its iCCP chunk, for one that Pillow does not open: it refuses the whole image where the
    profile is larger than 1 MiB, or is packed in a way that it does not know. None: it has no profile."""
    at = len(_PNG)
    for _ in range(_FIRST_CHUNKS if png.startswith(_PNG) else 0):
        length, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        if kind == b"iCCP":
            return png[:at] + png[at + 12 + length :]
        at += 12 + length
    return None


@lru_cache(maxsize=_KEPT)
def _conversion(profile: bytes, mode: str) -> ToSRGB | None:
    """The same for all images with this profile: building it takes as long as converting a small image."""
    try:
        if _is_program(profile):
            return None
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        facts = source.profile
        if facts.xcolor_space.strip() != _SPACES[mode] or facts.device_class not in _CLASSES:
            return None
        target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        transform = ImageCms.ImageCmsTransform(source, target, mode, "RGB", _INTENT, flags=_FLAGS)
        found = ToSRGB(mode, transform)
        return None if _changes_nothing(found) else found
    except Exception:  # parsers of hostile bytes raise nearly anything
        return None


def _is_program(profile: bytes) -> bool:
    """Whether it holds multi-processing elements (ICC.1:2010, 10.14): a chain of any length, which would be
    computed for a whole table of colours. 80 kB of it took 16 seconds; photos have none."""
    count = int.from_bytes(profile[128:132], "big")
    tags = profile[132 : 132 + 12 * count]
    return any(tags[at : at + 3] == b"D2B" for at in range(0, len(tags), 12))


def _changes_nothing(conversion: ToSRGB) -> bool:
    """Whether the profile is sRGB itself, in one of its many writings: no value changes by more than 1."""
    if conversion.mode == "CMYK":
        return False
    if conversion.mode == "L":
        colours = np.arange(256, dtype=np.uint8)[None]
    else:
        steps = np.arange(0, 256, 15, dtype=np.uint8)
        colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    before = Image.fromarray(colours)
    after = np.asarray(conversion(before), int)
    return bool(np.abs(after - np.asarray(before.convert("RGB"))).max() <= 1)
