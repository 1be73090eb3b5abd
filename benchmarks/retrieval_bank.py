"""The banks and images that the benchmarks of retrieval work with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import torch
from bank_build import make_photos, repeated
from scipy.ndimage import gaussian_filter, median_filter

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.images import decode, square
from art2real.data.manifest import BankSettings
from art2real.index.build import add_shard, finish, plan
from art2real.index.learn import train
from art2real.index.manifest import IndexManifest, Request, index_folder

SCALES = (Scale(16, 6), Scale(8, 5), Scale(4, 4))
PHOTOS = 600  # one million patches at the coarsest scale
SIDE = 256
CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Corpus:
    """Photos for banks, others that no bank has, and paintings."""

    work: Path
    data: Path | None

    def bank(self, photos: int = PHOTOS, scales: tuple[Scale, ...] = SCALES) -> MemoryBank:
        """A bank of the first photos, without an index at first."""
        name = f"bank-{photos}-" + "-".join(scale.name for scale in scales)
        return self._built(name, self.photos(photos), scales)

    def held_out(self) -> MemoryBank:
        """A bank of 100 photos that no other bank has, to cut queries from."""
        return self._built("held-out", self._files("testB", 100), SCALES)

    def photos(self, count: int) -> list[Path]:
        """Photos for a bank."""
        return self._files("trainB", count)

    def images(self) -> list[tuple[str, np.ndarray]]:
        """What a generator might make at first: four softened photos that no bank has, and four paintings."""
        photos = [_read(path) for path in self._files("testB", 4)]
        soft = [gaussian_filter(median_filter(each, (5, 5, 1)), (1, 1, 0)) for each in photos]
        if self.data is None:
            paintings = [median_filter(_read(path), (9, 9, 1)) for path in self._files("testB", 8)[4:]]
        else:
            paintings = [_read(path) for path in sorted((self.data / "testA").iterdir())[:4]]
        return [("softened photo", each) for each in soft] + [("painting", each) for each in paintings]

    def _built(self, name: str, photos: list[Path], scales: tuple[Scale, ...]) -> MemoryBank:
        folder, source = self.work / name, self.work / f"{name}.txt"
        if not (folder / "manifest.json").exists():
            source.write_text("".join(f"{path.resolve()}\n" for path in photos), encoding="utf-8")
            # Eight shards, so that an index can have one, two, four and eight.
            settings = BankSettings(image_size=SIDE, scales=scales, photos_per_shard=-(-len(photos) // 8))
            build_bank(source, folder, settings)
        return MemoryBank.open(folder)

    def _files(self, part: str, count: int) -> list[Path]:
        if self.data is not None:
            found = sorted((self.data / part).iterdir())
            if part == "trainB" and count > len(found):
                found += sorted((self.data / "testB").iterdir())[100:]
            return found[:count]
        made = self.work / "made"
        if not made.exists():
            make_photos(made)
        # The first hundred are for queries alone; bytes behind a JPEG's end make repetitions other files.
        originals = sorted(made.iterdir())
        chosen = originals[:100] if part == "testB" else originals[100:]
        folder = self.work / f"made-{part}-{count}"
        if not folder.exists():
            repeated(chosen, count, folder)
        return sorted(folder.iterdir())


def _read(path: Path) -> np.ndarray:
    return square(decode(path), SIDE)


def indexed(
    bank: MemoryBank, scale: Scale, factory: str = "auto", *, shards: int = 1, anew: bool = False
) -> MemoryBank:
    """A bank of the same files with an index of its own; built where it is not there yet, or `anew`."""
    name = f"{bank.path.name}--{factory.replace(',', '_')}-{shards}"
    copy = bank.path.with_name(name)
    if not copy.exists():
        shutil.copytree(bank.path, copy, copy_function=os.link, ignore=shutil.ignore_patterns("index"))
    copied = MemoryBank.open(copy)
    if anew:
        shutil.rmtree(index_folder(copy, scale), ignore_errors=True)
    if not (index_folder(copy, scale) / "manifest.json").exists():
        build(copied, scale, Request(factory=factory, shards=shards))
    return copied


def build(bank: MemoryBank, scale: Scale, request: Request) -> IndexManifest:
    """Builds the index of a scale in this process."""
    trained = train(bank, scale, request)
    parts = [
        add_shard(bank, scale, trained, number, numbers)
        for number, numbers in enumerate(plan(bank, request.shards))
    ]
    return finish(bank, scale, trained, parts)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """As many threads for FAISS and torch."""
    before = torch.get_num_threads()
    faiss.omp_set_num_threads(count)
    torch.set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(CORES)
        torch.set_num_threads(before)
