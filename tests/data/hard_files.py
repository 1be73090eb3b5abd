"""A folder as users have them, made here: odd, broken and hostile image files."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.pictures import make_photo

GOOD = (
    "UPPER.JPG",
    "alpha.png",
    "animated.gif",
    "cmyk.jpg",
    "exif_rotated.jpg",
    "good.jpg",
    "grey.jpg",
    "grey16.png",
    "nested/déjà vu/ünïcode.webp",
    "no_extension",
    "palette.gif",
    "panorama.jpg",
)
BAD = {
    "bomb.png": "too_many_pixels",
    "random_bytes.png": "not_an_image",
    "text_named.jpg": "not_an_image",
    "tiny_3x3.png": "too_small",
    "truncated.jpg": "truncated",
    "zero_bytes.jpg": "empty",
}
OTHERS = ("notes.txt", ".DS_Store")


def write_hard_folder(folder: Path) -> None:
    """Writes the files that `GOOD`, `BAD` and `OTHERS` name."""
    (folder / "nested/déjà vu").mkdir(parents=True)
    photo = Image.fromarray(make_photo(1, 64, 96))
    photo.save(folder / "good.jpg")
    photo.save(folder / "UPPER.JPG", quality=90)
    photo.save(folder / "no_extension", "JPEG", quality=85)
    photo.save(folder / "nested/déjà vu/ünïcode.webp")
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    photo.convert("L").save(folder / "grey.jpg")
    photo.convert("P").save(folder / "palette.gif")
    frames = [Image.fromarray(make_photo(seed, 48, 48)).convert("P") for seed in range(3)]
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    wide = np.linspace(0, 65535, 64 * 96).astype(np.uint16).reshape(64, 96)
    Image.fromarray(wide).save(folder / "grey16.png")
    alpha = photo.convert("RGBA")
    alpha.putalpha(Image.fromarray(make_photo(2, 64, 96)).convert("L"))
    alpha.save(folder / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(folder / "exif_rotated.jpg", exif=exif)
    Image.fromarray(make_photo(3, 20, 600)).save(folder / "panorama.jpg")

    (folder / "zero_bytes.jpg").touch()
    (folder / "text_named.jpg").write_text("not a photo at all\n")
    (folder / "random_bytes.png").write_bytes(np.random.default_rng(0).bytes(4096))
    whole = (folder / "good.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    photo.resize((3, 3)).save(folder / "tiny_3x3.png")
    (folder / "bomb.png").write_bytes(png_header(60_000, 60_000))
    (folder / "notes.txt").write_text("holiday 2024\n")
    (folder / ".DS_Store").write_bytes(b"\0\1")


def png_header(width: int, height: int) -> bytes:
    """A grey PNG that claims a size and has next to no pixels."""
    claim = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", claim), (b"IDAT", zlib.compress(bytes(4096))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
