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
from concurrent.futures import ProcessPoolExecutor
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

    The same loop in as many processes as there are cores shows how much faster these are together than one.
    """
    paths = sorted(photos.iterdir())
    seconds: dict[str, list[float]] = {"plain": [], "plain, a process a core": [], "build": []}
    context = multiprocessing.get_context("spawn")
    with session(None), ProcessPoolExecutor(cores(), context) as pool:
        from art2real.distributed.bank_job import write_on_cluster

        for repeat in range(REPEATS + 1):
            times = [time.perf_counter()]
            plain(paths, side)
            times.append(time.perf_counter())
            list(pool.map(plain, [paths[first :: cores()] for first in range(cores())], [side] * cores()))
            times.append(time.perf_counter())
            build_bank(photos, work / "timed", BankSettings(image_size=side), write=write_on_cluster)
            times.append(time.perf_counter())
            shutil.rmtree(work / "timed")
            os.sync()
            if repeat:  # the first round warms up
                for taken, (before, after) in zip(seconds.values(), itertools.pairwise(times), strict=True):
                    taken.append(after - before)
    alone, together, build = seconds.values()
    ratios = [a / b for a, b in zip(alone, build, strict=True)]
    limits = [a / b for a, b in zip(together, build, strict=True)]
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
    ratio = statistics.median(ratios)
    return [
        *rows,
        row(f"build / plain loop, to {side} px, {min(ratios):.2f} to {max(ratios):.2f}", ratio, "×"),
        row(f"build / plain loop / {cores()} cores, to {side} px", ratio / cores(), ""),
        row(
            f"build / plain loops, a process a core, to {side} px, {min(limits):.2f} to {max(limits):.2f}",
            statistics.median(limits),
            "×",
        ),
    ]


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
