"""Small banks for the tests of everything that retrieves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.manifest import BankSettings
from art2real.index.build import add_shard, finish, kept_parts, plan
from art2real.index.learn import train
from art2real.index.manifest import IndexManifest, Request
from tests.pictures import make_photo, write_photos

WIDE = Scale(8, 4)  # 192 values: reduced by PCA
NARROW = Scale(4, 4)  # 48 values


def make_bank(
    folder: Path, *, photos: int = 12, per_shard: int | None = None, size: int = 48, seed: int = 0
) -> MemoryBank:
    """A bank of four shards, or of `per_shard` photos each, with 121 (8:4) and 144 (4:4) patches a photo."""
    write_photos(folder / "photos", photos, height=max(size, 16), width=max(size, 16), seed=seed)
    settings = BankSettings(
        image_size=size, scales=(WIDE, NARROW), photos_per_shard=per_shard or -(-photos // 4)
    )
    build_bank(folder / "photos", folder / "bank", settings)
    return MemoryBank.open(folder / "bank")


def make_half_plain_bank(folder: Path) -> MemoryBank:
    """Twelve photos in four shards whose right half has the colour of the mean patch, exactly.

    Each even photo has the next one as its negative around that colour, grey 100.
    """
    (folder / "photos").mkdir(parents=True)
    for number in range(12):
        scene = (make_photo(number // 2, 48, 48).astype(int) - 128) // 2
        scene[:, 24:] = 0
        pixels = 100 + (scene if number % 2 else -scene)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "photos" / f"photo-{number:03d}.png")
    settings = BankSettings(image_size=48, scales=(WIDE, NARROW), photos_per_shard=3)
    build_bank(folder / "photos", folder / "bank", settings)
    return MemoryBank.open(folder / "bank")


def append_photos(folder: Path, photos: int, *, seed: int, dark: bool = False) -> MemoryBank:
    """The bank of `make_bank` in `folder`, with more photos, or with dark noise that resembles none.

    What is dark has less contrast than a photo, and no patch like any of theirs.
    """
    more = folder / f"more-{seed}"
    write_photos(more, photos, height=48, width=48, seed=seed)
    if dark:
        for number, path in enumerate(sorted(more.iterdir())):
            noise = np.random.default_rng([seed, number]).integers(0, 60, (48, 48, 3), np.uint8)
            path.unlink()
            Image.fromarray(noise).save(path.with_suffix(".png"))
    build_bank(more, folder / "bank", MemoryBank.open(folder / "bank").manifest.settings, mode="append")
    return MemoryBank.open(folder / "bank")


def request(
    factory: str = "auto",
    *,
    shards: int = 1,
    min_recall: float = 0.5,
    min_contrast: float = 1.0,
    seed: int = 0,
) -> Request:
    return Request(
        factory=factory, shards=shards, min_recall=min_recall, min_contrast=min_contrast, seed=seed
    )


def index_bank(bank: MemoryBank, scale: Scale, wanted: Request) -> IndexManifest:
    """Builds the index of one scale, or adds to it what was appended, all steps in this process."""
    kept = kept_parts(bank, scale)
    trained = train(bank, scale, wanted)
    parts = [
        add_shard(bank, scale, trained, number, numbers)
        for number, numbers in enumerate(plan(bank, wanted.shards, kept), len(kept))
    ]
    return finish(bank, scale, trained, [*kept, *parts])
