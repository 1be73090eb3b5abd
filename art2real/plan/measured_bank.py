"""Measures banks, and what training and audits do with them: two small banks of made photos, and an index."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from art2real.core.estimators import Sampled
from art2real.core.patches import extract, to_signed
from art2real.core.sampling import cell_chances
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
from art2real.index.retriever import BankRetriever, merge, unit_rows_and_norms
from art2real.index.shard import IndexShard, LocalShards, read_index
from art2real.index.source import RetrievedScale
from art2real.plan.clock import all_cores, cores, one_thread, taken
from art2real.plan.measured_loss import split

WIDE, NARROW = Scale(16, 6), Scale(4, 4)
_SIDE, _SMALL = 256, 64
_PHOTOS = 96
_WIDTH, _LISTS = 56, 1024
_ROWS = 16_384  # a block, as adding rows reads them
_QUERIES, _EXACT_QUERIES = 400, 400
_CROP = 128
_ESTIMATOR = Sampled()
_DRAWS = _ESTIMATOR.draws


@dataclass(frozen=True)
class BankPace:
    """What was measured, and how large it was."""

    constants: dict[str, Sequence[float]]
    turned: int
    """Multiply-adds of the PCA of a row that `take_in_seconds` was measured with."""
    centroids: int
    """That it was compared with."""
    width: int
    """Values of a row and of a centroid."""
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
    with one_thread():
        files = [path.read_bytes() for path in sorted(photos.iterdir())]
        pixels = _SIDE * _SIDE
        decoding = [
            each / (len(files) * pixels) for each in taken(lambda: [decode(file) for file in files], rounds)
        ]
        scaling = [
            each / (len(files) * pixels)
            for each in taken(lambda: [square(decode(file), _SMALL) for file in files], rounds)
        ]
        large, small = (
            [_built(folder, side, number) for number in range(rounds)] for side in (_SIDE, _SMALL)
        )
        stored = 3 * (_SIDE**2 - _SMALL**2)
        constants: dict[str, Sequence[float]] = {"source_pixel_seconds": decoding}
        per_byte, per_photo = [], []
        for more, less, plain, scaled in zip(large, small, decoding, scaling, strict=False):
            byte = max(more - less - (plain - scaled) * pixels, more / 20) / stored
            per_byte.append(byte)
            per_photo.append(max(more - plain * pixels - 3 * _SIDE**2 * byte, more / 20))
        constants |= {"stored_byte_seconds": per_byte, "photo_seconds": per_photo}
        bank = MemoryBank.open(folder / f"bank-{_SIDE}-0")
        constants |= _rows(bank, rounds)
        making = taken(lambda: held_out_queries(bank, WIDE, _QUERIES, 0), rounds)
        constants["audit_query_seconds"] = [each / _QUERIES for each in making]
    constants |= _retrieval(bank, rounds)
    constants |= _exact(MemoryBank.open(folder / f"bank-{_SMALL}-0"), rounds)
    return BankPace(constants, _WIDTH * WIDE.dimension, _LISTS, _WIDTH, bank.rows(WIDE), pixels)


def _built(folder: Path, side: int, number: int) -> float:
    """Seconds a photo of building a bank in this process, which waits for the disk."""
    began = time.perf_counter()
    settings = BankSettings(image_size=side, scales=(WIDE, NARROW))
    build_bank(folder / "photos", folder / f"bank-{side}-{number}", settings)
    return (time.perf_counter() - began) / _PHOTOS


def _rows(bank: MemoryBank, rounds: int) -> dict[str, Sequence[float]]:
    """Unit rows, as training, adding and audits read them."""
    rows = np.arange(_ROWS)
    mean = bank.mean(WIDE)
    seconds = taken(lambda: unit_rows_and_norms(bank.vectors(WIDE, rows), mean), rounds)
    return {"row_value_seconds": [each / (_ROWS * WIDE.dimension) for each in seconds]}


def _retrieval(bank: MemoryBank, rounds: int) -> dict[str, Sequence[float]]:
    """Indexes of wide and narrow rows: taking rows in, draws, and what the patches of an image are held
    against."""
    wide = _indexed(bank, WIDE, f"PCA{_WIDTH},IVF{_LISTS},SQfp16")
    narrow = _indexed(bank, NARROW, f"IVF{2 * _LISTS},SQfp16")
    with one_thread():
        taking = _taking_in(bank, wide.retriever.trained, rounds)
    random = np.random.default_rng(0)
    cells = torch.from_numpy(random.choice(np.flatnonzero(wide.cells().sizes.numpy()), _DRAWS))
    drawing = [each / _DRAWS for each in taken(lambda: wide.draw(cells, random), rounds)]
    draw = statistics.median(drawing)
    widths = WIDE.dimension, NARROW.dimension
    values, rows = split(_compared(wide, draw, rounds), _compared(narrow, draw, rounds), widths)
    near = wide.nearest(_patches(wide), _ESTIMATOR.neighbours)
    return {
        "merge_seconds": _merging(rounds),
        "take_in_seconds": taking,
        "draw_seconds": drawing,
        "distinct_share": [len(near.unique()) / near.numel()],
        "scanned_wide_share": [_unevenness(wide)],
        "scanned_narrow_share": [_unevenness(narrow)],
        "fetch_value_seconds": values,
        "fetch_row_seconds": rows,
    }


def _indexed(bank: MemoryBank, scale: Scale, factory: str) -> RetrievedScale:
    """A scale with an index of its own."""
    request = Request(factory=factory, min_contrast=0)
    trained = train(bank, scale, request)
    add_shard(bank, scale, trained, 0, tuple(range(len(bank.shards))))
    shard = IndexShard.load(bank.path / "index" / scale.name / "part-00000.index", trained.nprobe)
    return RetrievedScale(bank, scale, BankRetriever(bank, scale, LocalShards([shard]), trained))


def _merging(rounds: int) -> list[float]:
    """Core-seconds of a candidate of one of two shards' answers."""
    random = np.random.default_rng(0)
    shape = (_QUERIES, _ESTIMATOR.neighbours)
    answers = [(random.random(shape, np.float32), random.integers(1 << 40, size=shape)) for _ in range(2)]
    seconds = taken(lambda: merge(answers, _ESTIMATOR.neighbours), rounds, all_cores)
    return [each / (2 * _QUERIES * _ESTIMATOR.neighbours) for each in seconds]


def _unevenness(source: RetrievedScale) -> float:
    """Rows of the list that a row of the bank lies in, on average, in rows of an average list."""
    sizes = source.cells().sizes.double()
    return float(len(sizes) * sizes.square().sum() / sizes.sum().square())


def _patches(source: RetrievedScale) -> torch.Tensor:
    """The patches of a step's crop: `[N, D]`."""
    pixels = source.bank.photos[0].pixels[:_CROP, :_CROP]
    image = to_signed(torch.from_numpy(pixels.transpose(2, 0, 1).copy()))[None]
    return extract(image.float(), source.scale.size, source.scale.stride)[0]


def _compared(source: RetrievedScale, draw: float, rounds: int) -> list[float]:
    """Core-seconds of a row that a crop's patches are held against: all of an estimator's work but the
    search, the expected shares and the draws, which are measured beside it."""
    patches, cells = _patches(source), source.cells()
    loss = _ESTIMATOR.prepare(patches, source, np.random.default_rng(0))
    assert isinstance(loss, partial)

    def shares() -> None:
        cell_chances(
            patches,
            patches,
            source.mean,
            cells.directions,
            cells.sizes.double(),
            uniform=_ESTIMATOR.uniform,
            bandwidth=_ESTIMATOR.bandwidth,
            epsilon=_ESTIMATOR.epsilon,
        )

    whole = taken(
        lambda: _ESTIMATOR.prepare(patches, source, np.random.default_rng(0)), 2 * rounds, all_cores
    )
    beside = [
        statistics.median(taken(work, 2 * rounds, all_cores))
        for work in (lambda: source.nearest(patches, _ESTIMATOR.neighbours), shares)
    ]
    # Draws are made by one core, while the others wait.
    known = sum(beside) + cores() * _DRAWS * draw
    return [max(each - known, each / 10) / len(loss.keywords["real"]) for each in whole]


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
        one = taken(lambda: exact.search(queries[:1], 5), rounds, all_cores)
        all_of_them = taken(lambda: exact.search(queries, 5), rounds, all_cores)
        pairs = (_EXACT_QUERIES - 1) * bank.rows(scale)
        return [max(many - few, many / 20) / pairs for many, few in zip(all_of_them, one, strict=False)]

    values, pairs = split(seconds(WIDE), seconds(NARROW))
    return {"exact_value_seconds": values, "exact_pair_seconds": pairs}
