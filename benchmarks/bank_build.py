"""Building memory banks: speed against a plain loop, memory, bytes, and gathering of patches.

    python benchmarks/bank_build.py [--photos DIR] [--work DIR] [--json FILE]

Without --photos the photos are made here. --work is a new folder for corpora and banks (about 8 GB).
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

import numpy as np
from commands import art2real, measure
from common import machine, report, spread
from PIL import Image
from scipy.ndimage import gaussian_filter

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.manifest import BankSettings
from art2real.distributed.cluster import cores, session

SIDE = 256
FEW, MANY = 2000, 8000
REPEATS = 7
SCALE = Scale(16, 6)
NEIGHBOURS = 5 * 1681  # of the patches of one image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of photos")
    parser.add_argument("--work", type=Path, help="new folder for all that is made")
    parser.add_argument("--json", type=Path, help="file for the figures as JSON")
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp(prefix="bank-build-"))
    work.mkdir(parents=True, exist_ok=True)
    originals = sorted(arguments.photos.iterdir()) if arguments.photos else make_photos(work / "made")
    few, many = (repeated(originals, count, work / f"photos-{count}") for count in (FEW, MANY))

    rows = memory_rows(work, few, many)
    rows += speed_rows(work, many, SIDE)
    rows += speed_rows(work, many, SIDE // 2)
    rows += gather_rows(work / f"bank-{FEW}")
    report("Building memory banks", machine("ray", "pyarrow", "pillow", "numpy"), rows, arguments.json)
    if arguments.work is None:
        shutil.rmtree(work)


def make_photos(folder: Path) -> list[Path]:
    """Smooth random scenes with grain, as JPEG."""
    folder.mkdir()
    paths = [folder / f"{number:04d}.jpg" for number in range(200)]
    for number, path in enumerate(paths):
        random = np.random.default_rng(number)
        scene = gaussian_filter(random.normal(size=(SIDE, SIDE, 3)), (6, 6, 0))
        scene = scene / scene.std() * 45 + 128 + random.normal(scale=8, size=scene.shape)
        Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8)).save(path, quality=90)
    return paths


def repeated(originals: list[Path], count: int, folder: Path) -> Path:
    """A folder of `count` photos. Bytes behind the end of a JPEG keep repetitions from being exact copies."""
    folder.mkdir()
    for number, path in enumerate(itertools.islice(itertools.cycle(originals), count)):
        (folder / f"{number:05d}.jpg").write_bytes(path.read_bytes() + number.to_bytes(4, "little"))
    return folder


def memory_rows(work: Path, few: Path, many: Path) -> list[dict[str, object]]:
    """Two builds by the command line, their memory and bytes."""
    rows: list[dict[str, object]] = []
    peaks = []
    for count, photos in ((FEW, few), (MANY, many)):
        bank = work / f"bank-{count}"
        done = measure(art2real("build-banks", str(photos), "--out", str(bank), "--no-index"))
        manifest = MemoryBank.open(bank).manifest
        stored = sum(entry.bytes for entry in manifest.files) + (bank / "manifest.json").stat().st_size
        peaks.append(done.peak_bytes)
        rows += [
            row(f"build-banks, {count:,} photos, Ray's start included", done.seconds, "s"),
            row("  peak memory of all processes", done.peak_bytes / 2**20, "MiB"),
            row("  bytes on disk / raw pixel bytes", stored / (manifest.squares * 3 * SIDE**2), ""),
        ]
    return [*rows, row(f"peak memory, {MANY:,} against {FEW:,} photos", peaks[1] / peaks[0], "×")]


def speed_rows(work: Path, photos: Path, side: int) -> list[dict[str, object]]:
    """The build against a loop that only decodes and resizes, in turns, in a Ray session that is warm.

    The same loop in as many processes as there are cores shows how much faster these are together than one;
    processes that write files of the bank's sizes and do nothing else show what the disk lets through.
    """
    paths = sorted(photos.iterdir())
    parts = [paths[first :: cores()] for first in range(cores())]
    bank, beside = work / "timed", work / "alone"
    seconds: dict[str, list[float]] = defaultdict(list)
    context = multiprocessing.get_context("spawn")
    with session(None), ProcessPoolExecutor(cores(), context) as pool:
        from art2real.distributed.bank_job import write_on_cluster

        for repeat in range(REPEATS + 1):
            round_ = {
                "plain": timed(plain, paths, side),
                "plain, a process a core": timed(spread_over, pool, plain, parts, [side] * cores()),
                "build": timed(
                    build_bank, photos, bank, BankSettings(image_size=side), write=write_on_cluster
                ),
            }
            sizes = [path.stat().st_size for path in bank.rglob("*.arrow")]
            remove(bank)
            beside.mkdir()
            shares = [sizes[first :: cores()] for first in range(cores())]
            round_["the disk alone"] = timed(spread_over, pool, only_write, shares, [beside] * cores())
            remove(beside)
            if repeat:  # the first round warms up
                for name, taken in round_.items():
                    seconds[name].append(taken)
    rows = []
    for name, taken in seconds.items():
        speeds = spread([len(paths) / each for each in taken])
        rows.append(
            row(
                f"{name}, to {side} px: photos/s, {speeds['least']:,.0f} to {speeds['greatest']:,.0f}",
                speeds["median"],
                "1/s",
            )
        )
    for name in [name for name in seconds if name != "build"]:
        ratios = [a / b for a, b in zip(seconds[name], seconds["build"], strict=True)]
        what = f"build / {name}, to {side} px, {min(ratios):.2f} to {max(ratios):.2f}"
        rows.append(row(what, statistics.median(ratios), "×"))
        if name == "plain":
            rows.append(row(f"  per core, of {cores()}", statistics.median(ratios) / cores(), "×"))
    return rows


def timed(work: Callable[..., object], *arguments: object, **options: object) -> float:
    """Seconds that a call takes."""
    begun = time.perf_counter()
    work(*arguments, **options)
    return time.perf_counter() - begun


def spread_over(pool: Executor, work: Callable[..., object], *arguments: list[object]) -> None:
    list(pool.map(work, *arguments))


def remove(folder: Path) -> None:
    """Removes a folder, and waits until the disk has nothing to do."""
    shutil.rmtree(folder)
    os.sync()


def only_write(sizes: list[int], folder: Path) -> None:
    """Writes files of these sizes, each waited for as a bank's are, and does nothing else."""
    content = memoryview(np.random.default_rng(0).bytes(max(sizes)))
    for size in sizes:
        with (folder / uuid.uuid4().hex).open("wb", buffering=0) as file:
            file.write(content[:size])
            os.fsync(file.fileno())


def plain(paths: list[Path], side: int) -> None:
    """Opens, decodes and resizes, and keeps nothing."""
    for path in paths:
        image = Image.open(path).convert("RGB")
        np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))


def gather_rows(path: Path) -> list[dict[str, object]]:
    """The patches of one image's neighbours out of a memory-mapped bank, against a loop over patches."""
    rows = []
    for state in ("cold", "warm"):
        taken, looped = [], []
        for repeat in range(REPEATS):
            bank = MemoryBank.open(path)
            wanted = np.random.default_rng(repeat).integers(0, bank.rows(SCALE), NEIGHBOURS)
            if state == "cold":
                forget(path)
            else:
                bank.patches(SCALE, wanted)
            begun = time.perf_counter()
            patches = bank.patches(SCALE, wanted)
            taken.append(NEIGHBOURS / (time.perf_counter() - begun))
            begun = time.perf_counter()
            one_by_one = [bank.photos[p].pixels[y : y + 16, x : x + 16] for p, y, x in places(bank, wanted)]
            looped.append(NEIGHBOURS / (time.perf_counter() - begun))
            assert np.array_equal(patches, np.stack(one_by_one))
        speeds = spread(taken)
        rows.append(
            row(
                f"gathering {NEIGHBOURS:,} patches {SCALE}, {state}: rows/s, {speeds['least']:,.0f} to "
                f"{speeds['greatest']:,.0f}",
                speeds["median"],
                "1/s",
            )
        )
    return [
        *rows,
        row("  against a Python loop over patches, warm", speeds["median"] / statistics.median(looped), "×"),
    ]


def places(bank: MemoryBank, rows: np.ndarray) -> list[tuple[int, int, int]]:
    return list(zip(*(each.tolist() for each in bank.locate(SCALE, rows)), strict=True))


def forget(folder: Path) -> None:
    """Asks the system to drop what it has cached of a folder's files."""
    os.sync()
    for path in folder.rglob("*.arrow"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def row(what: str, value: float, unit: str) -> dict[str, object]:
    return {"what": what, "value": float(value), "unit": unit}


if __name__ == "__main__":
    main()
