"""Which files are images: by their name, or by how they begin."""

from __future__ import annotations

import posixpath

# fmt: off
EXTENSIONS = frozenset((
    ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg",
    ".jxl", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
))
# fmt: on
"""Names that promise an image. Some cannot be decoded: those are then named as skipped, not passed over."""

HEAD_BYTES = 32
"""How much of a file `begins_like_image` wants to see."""

_BEGINNINGS = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\x00",  # TIFF
    b"MM\x00*",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n",  # JPEG 2000
)


def suffix(name: str) -> str:
    """The last suffix of a file name in lower case, with its dot; empty if it has none."""
    return posixpath.splitext(name)[1].lower()


def named_like_image(name: str) -> bool:
    """Whether a file has the name of an image."""
    return suffix(name) in EXTENSIONS


def begins_like_image(head: bytes) -> bool:
    """Whether the first `HEAD_BYTES` of a file are those of an image."""
    return (
        head.startswith(_BEGINNINGS)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", b"heic", b"heix", b"mif1"))
        # Two letters are too little for BMP: the size of its second header must fit as well.
        or (head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in (12, 40, 52, 56, 64, 108, 124))
    )
