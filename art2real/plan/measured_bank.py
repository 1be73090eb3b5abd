"""Measures banks, and what training and audits do with them: two small banks of made photos, and an index."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from art2real.core.patches import extract, to_signed
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.images import decode, square
from art2real.data.manifest import BankSettings
from art2real.index.build import add_shard
from art2real.index.exact import ExactRetriever
from art2real.index.learn import train
from art2real.index.manifest import Request
from art2real.index.queries import held_out_queries
from art2real.index.records import Trained
from art2real.index.retriever import BankRetriever, unit_rows_and_norms
from art2real.index.shard import IndexShard, LocalShards, read_index
from art2real.index.source import RetrievedScale
from art2real.plan.clock import taken
from art2real.plan.measured_loss import split

WIDE, NARROW = Scale(16, 6), Scale(4, 4)
_SIDE, _SMALL = 256, 64
_PHOTOS = 96
_WIDTH, _LISTS = 56, 256
_ROWS = 16_384  # a block, as adding rows reads them
_QUERIES, _NEIGHBOURS, _DRAWS, _FETCHED = 400, 32, 4096, 16_384
_EXACT_QUERIES = 400


@dataclass(frozen=True)
class BankPace:
    """What was measured, and how large it was."""

    constants: dict[str, Sequence[float]]
    turned: int
    """Multiply-adds of the PCA of a row that `take_in_seconds` was measured with."""
    compared: int
    """Multiply-adds of comparing it with the centroids."""
    rows: int
    source_pixels: int


def make_photos(folder: Path, count: int, side: int = _SIDE) -> None:
    """Smooth scenes with grain, as JPEG: what photos are to a decoder and to an index."""
    folder.mkdir(parents=True)
    for number in range(count):
        random = np.random.default_rng([7, number])
        coarse = random.integers(0, 256, (side // 16, side // 16, 3), np.uint8)
        scene = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC), np.float64)
        scene = 0.6 * scene + 50 + random.normal(scale=8, size=scene.shape)
        Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8)).save(
            folder / f"{number:05d}.jpg", quality=90
        )


def measure_bank(folder: Path, rounds: int) -> BankPace:
    """Builds banks of two sizes from the same photos, and works with the larger one.

    Args:
        folder: an empty folder. rounds: of each measurement.
    """
    photos = folder / "photos"
    make_photos(photos, _PHOTOS)
    files = [path.read_bytes() for path in sorted(photos.iterdir())]
    pixels = _SIDE * _SIDE
    decoding = [
        each / (len(files) * pixels) for each in taken(lambda: [decode(file) for file in files], rounds)
    ]
    scaling = [
        each / (len(files) * pixels)
        for each in taken(lambda: [square(decode(file), _SMALL) for file in files], rounds)
    ]
    large, small = ([_built(folder, side, number) for number in range(rounds)] for side in (_SIDE, _SMALL))
    stored = 3 * (_SIDE**2 - _SMALL**2)
    constants: dict[str, Sequence[float]] = {"source_pixel_seconds": decoding}
    per_byte, per_photo = [], []
    for more, less, plain, scaled in zip(large, small, decoding, scaling, strict=False):
        byte = max(more - less - (plain - scaled) * pixels, more / 20) / stored
        per_byte.append(byte)
        per_photo.append(max(more - plain * pixels - 3 * _SIDE**2 * byte, more / 20))
    constants |= {"stored_byte_seconds": per_byte, "photo_seconds": per_photo}
    bank = MemoryBank.open(folder / f"bank-{_SIDE}-0")
    constants |= _rows(bank, rounds) | _retrieval(bank, rounds) | _fetching(bank, rounds)
    making = taken(lambda: held_out_queries(bank, WIDE, _QUERIES, 0), rounds)
    constants["audit_query_seconds"] = [each / _QUERIES for each in making]
    constants |= _exact(MemoryBank.open(folder / f"bank-{_SMALL}-0"), rounds)
    return BankPace(constants, _WIDTH * WIDE.dimension, _WIDTH * _LISTS, bank.rows(WIDE), pixels)


def _built(folder: Path, side: int, number: int) -> float:
    """Core-seconds a photo of building a bank in this process."""
    began = time.process_time()
    settings = BankSettings(image_size=side, scales=(WIDE, NARROW))
    build_bank(folder / "photos", folder / f"bank-{side}-{number}", settings)
    return (time.process_time() - began) / _PHOTOS


def _rows(bank: MemoryBank, rounds: int) -> dict[str, Sequence[float]]:
    """Unit rows, as training, adding and audits read them."""
    rows = np.arange(_ROWS)
    mean = bank.mean(WIDE)
    seconds = taken(lambda: unit_rows_and_norms(bank.vectors(WIDE, rows), mean), rounds)
    return {"row_value_seconds": [each / (_ROWS * WIDE.dimension) for each in seconds]}


def _retrieval(bank: MemoryBank, rounds: int) -> dict[str, Sequence[float]]:
    """An index of wide rows: taking rows in, draws, and scattered rows."""
    request = Request(factory=f"PCA{_WIDTH},IVF{_LISTS},SQfp16", min_contrast=0)
    trained = train(bank, WIDE, request)
    taking = _taking_in(bank, trained, rounds)
    add_shard(bank, WIDE, trained, 0, tuple(range(len(bank.shards))))
    shard = IndexShard.load(bank.path / "index" / WIDE.name / "part-00000.index", trained.nprobe)
    source = RetrievedScale(bank, WIDE, BankRetriever(bank, WIDE, LocalShards([shard]), trained))
    random = np.random.default_rng(0)
    cells = torch.from_numpy(random.choice(np.flatnonzero(source.cells().sizes.numpy()), _DRAWS))
    drawing = taken(lambda: source.draw(cells, random), rounds)
    image = to_signed(torch.from_numpy(bank.photos[0].pixels.transpose(2, 0, 1).copy()))[None]
    near = source.nearest(extract(image.float(), WIDE.size, WIDE.stride)[0][:_QUERIES], _NEIGHBOURS)
    return {
        "take_in_seconds": taking,
        "draw_seconds": [each / _DRAWS for each in drawing],
        "distinct_share": [len(near.unique()) / near.numel()],
    }


def _fetching(bank: MemoryBank, rounds: int) -> dict[str, Sequence[float]]:
    """Patches of scattered rows, as `RetrievedScale.fetch` gives them."""

    def seconds(scale: Scale) -> list[float]:
        random = np.random.default_rng(0)
        rows = np.sort(random.choice(bank.rows(scale), _FETCHED, replace=False))

        def fetch() -> None:
            to_signed(torch.from_numpy(bank.patches(scale, rows)).permute(0, 3, 1, 2).flatten(1))

        return [each / _FETCHED for each in taken(fetch, rounds)]

    values, rows = split(seconds(WIDE), seconds(NARROW))
    return {"fetch_value_seconds": values, "fetch_row_seconds": rows}


def _taking_in(bank: MemoryBank, trained: Trained, rounds: int) -> list[float]:
    """Core-seconds of a row, transformed, compared with the centroids and put into its list."""
    index = read_index(bank.path / trained.file.path, trained.file.bytes)
    rows = bank.vectors(WIDE, np.arange(_ROWS))
    vectors = unit_rows_and_norms(rows, bank.mean(WIDE))[0]
    return [each / _ROWS for each in taken(lambda: index.add(vectors), rounds)]


def _exact(bank: MemoryBank, rounds: int) -> dict[str, Sequence[float]]:
    """The exact search of an audit, a row and query, without reading the rows."""

    def seconds(scale: Scale) -> list[float]:
        queries = bank.vectors(scale, np.arange(_EXACT_QUERIES))
        exact = ExactRetriever(bank, scale)
        one = taken(lambda: exact.search(queries[:1], 5), rounds)
        all_of_them = taken(lambda: exact.search(queries, 5), rounds)
        pairs = (_EXACT_QUERIES - 1) * bank.rows(scale)
        return [max(many - few, many / 20) / pairs for many, few in zip(all_of_them, one, strict=False)]

    values, pairs = split(seconds(WIDE), seconds(NARROW))
    return {"exact_value_seconds": values, "exact_pair_seconds": pairs}
