"""Photos that take a worker some time, made quickly."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.pictures import make_photo


def write_large_photos(folder: Path, count: int, side: int) -> Path:
    """Square photos of `side` pixels, of which each four show the same; no two files are equal.

    Bytes behind the end of a JPEG are read by nobody.
    """
    folder.mkdir(parents=True)
    for number in range(count):
        path = folder / f"photo-{number:03d}.jpg"
        if number < 4:
            small = Image.fromarray(make_photo(number, 128, 128))
            small.resize((side, side), Image.Resampling.BICUBIC).save(path, quality=90)
        else:
            first = folder / f"photo-{number % 4:03d}.jpg"
            path.write_bytes(first.read_bytes() + number.to_bytes(4, "little"))
    return folder
