"""Reads a memory bank: photos once, patches as views of them, everything memory-mapped."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import overload

import numpy as np
import pyarrow as pa

from art2real.core.scale import Scale
from art2real.data.bank_files import read_table
from art2real.data.manifest import FileEntry, Manifest, ShardInfo, read_manifest
from art2real.errors import UserError

_REPAIR = "inspect --verify names all damaged files; delete them and run build-banks with --resume"


@dataclass(frozen=True, eq=False)
class PhotoRecord:
    """One stored square of a photo. `width` and `height` are those of the upright original."""

    id: str
    source: str
    sha256: str
    bytes: int
    """Of the photo's file."""
    width: int
    height: int
    tile: int
    """Number of the square in its photo, row-major; 0: its first, or only, one."""
    crop_x: float
    """Left of the square in pixels of the upright original; `crop_y` its top, `crop_side` its side."""
    crop_y: float
    crop_side: float
    licence: str | None
    attribution: str | None
    pixels: np.ndarray
    """uint8 `[S, S, 3]`, read-only."""


class MemoryBank:
    """A memory bank that was opened for reading; cheap to open, safe to share between threads.

    Row numbers are global: shard by shard, photo by photo, row-major over each photo's grid.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.scales: tuple[Scale, ...] = tuple(info.scale for info in manifest.scales)
        self.photos = Photos(self)
        self._first_photo = _offsets([shard.photos for shard in manifest.shards])
        self._first_row = {
            scale: _offsets([shard.patches[scale.name].rows for shard in manifest.shards])
            for scale in self.scales
        }
        self._mapped: dict[str, pa.RecordBatch] = {}
        self._pixels: dict[int, np.ndarray] = {}
        self._tables: dict[tuple[int, Scale], _PatchTable] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path | str) -> MemoryBank:
        """Opens a bank.

        Raises:
            UserError: there is no finished bank, or its format is not known.
        """
        return cls(Path(path), read_manifest(Path(path)))

    @property
    def identity(self) -> str:
        """SHA-256 that names the bank's content."""
        return self.manifest.identity

    @property
    def image_size(self) -> int:
        """Side of the stored photos in pixels."""
        return self.manifest.image_size

    @property
    def shards(self) -> tuple[ShardInfo, ...]:
        """The bank's shards, in the order of the row numbers."""
        return self.manifest.shards

    def rows(self, scale: Scale) -> int:
        """Patches at this scale."""
        return int(self._rows_of(scale)[-1])

    def shard_rows(self, scale: Scale) -> list[range]:
        """The row numbers of each shard."""
        ends = self._rows_of(scale).tolist()
        return [range(first, last) for first, last in pairwise(ends)]

    def mean(self, scale: Scale) -> np.ndarray:
        """Mean patch: float32 `[D]` in [-1, 1], channel-major like `art2real.core.patches.extract`."""
        return np.array(self.manifest.scales[self._number(scale)].mean, np.float32)

    def locate(self, scale: Scale, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where patches lie: `(photo, y, x)`, int64 `[R]` each; y and x of the top-left corner.

        Raises:
            IndexError: a row number is outside the bank.
        """
        rows = self._checked(scale, rows)
        photo, y, x = (np.empty(len(rows), np.int64) for _ in range(3))
        for shard, where, local in self._by_shard(scale, rows):
            photo[where], y[where], x[where] = self._table(shard, scale).locate(local)
            photo[where] += self._first_photo[shard]
        return photo, y, x

    def patches(self, scale: Scale, rows: np.ndarray) -> np.ndarray:
        """The pixels of patches: uint8 `[R, size, size, 3]`, in the order of `rows` (int64 `[R]`).

        Raises:
            IndexError: a row number is outside the bank.
        """
        rows = self._checked(scale, rows)
        result = np.empty((len(rows), scale.size, scale.size, 3), np.uint8)
        lines = result.reshape(len(rows), scale.size, 3 * scale.size)
        for shard, where, local in self._by_shard(scale, rows):
            photo, y, x = self._table(shard, scale).locate(local)
            lines[where] = _windows(self._shard_pixels(shard), scale.size)[photo, y, x]
        return result

    def classes(self, scale: Scale, rows: np.ndarray) -> np.ndarray:
        """The class that covers at least half of each patch: uint16 `[R]`, 0 where there is none.

        Raises:
            IndexError: a row number is outside the bank.
        """
        rows = self._checked(scale, rows)
        result = np.zeros(len(rows), np.uint16)
        for shard, where, local in self._by_shard(scale, rows):
            found = self._table(shard, scale).classes
            if found is not None:
                result[where] = found[local]
        return result

    def vectors(self, scale: Scale, rows: np.ndarray) -> np.ndarray:
        """Patches as the loss sees them: float32 `[R, D]` in [-1, 1], in `extract`'s order of values.

        Raises:
            IndexError: a row number is outside the bank.
        """
        pixels = self.patches(scale, rows)
        values = np.empty((len(pixels), 3, scale.size, scale.size), np.float32)
        np.multiply(pixels.transpose(0, 3, 1, 2), np.float32(2 / 255), out=values)
        values -= 1
        return values.reshape(len(pixels), scale.dimension)

    def blocks(self, scale: Scale, rows_per_block: int = 65536) -> Iterator[np.ndarray]:
        """All vectors of a scale, in order: float32 `[M, D]`, M up to `rows_per_block`."""
        total = self.rows(scale)
        for first in range(0, total, rows_per_block):
            yield self.vectors(scale, np.arange(first, min(first + rows_per_block, total)))

    def _number(self, scale: Scale) -> int:
        if scale not in self.scales:
            raise UserError(f"{self.path}: has no scale {scale}, only {', '.join(map(str, self.scales))}")
        return self.scales.index(scale)

    def _rows_of(self, scale: Scale) -> np.ndarray:
        self._number(scale)
        return self._first_row[scale]

    def _checked(self, scale: Scale, rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows, np.int64)
        total = self.rows(scale)
        if rows.ndim != 1:
            raise ValueError(f"row numbers must be [R], got {list(rows.shape)}")
        if len(rows) and (rows.min() < 0 or rows.max() >= total):
            raise IndexError(f"row numbers must be 0 to {total - 1}, got {rows.min()} to {rows.max()}")
        return rows

    def _by_shard(
        self, scale: Scale, rows: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray | slice, np.ndarray]]:
        """For each shard with any of `rows`: its number, which of them, and their numbers inside it."""
        first = self._rows_of(scale)
        shards = np.searchsorted(first, rows, side="right") - 1
        order = np.argsort(shards, kind="stable")
        wanted, begin = np.unique(shards[order], return_index=True)
        if len(wanted) == 1:
            yield int(wanted[0]), slice(None), rows - first[wanted[0]]
            return
        for shard, where in zip(wanted.tolist(), np.split(order, begin[1:]), strict=False):
            yield shard, where, rows[where] - first[shard]

    def _shard_pixels(self, shard: int) -> np.ndarray:
        """uint8 `[P, S, S, 3]`, a read-only view of the mapped file."""
        if shard not in self._pixels:
            entry = self.shards[shard].photos_file
            pixels = self._map(entry, self.shards[shard].photos).column("pixels").to_numpy_ndarray()
            # `_windows` reads raw memory, so a file of another shape must not get that far.
            if pixels.shape[1:] != (self.image_size, self.image_size, 3) or pixels.dtype != np.uint8:
                raise UserError(f"{self.path / entry.path}: holds no photos of this bank; {_REPAIR}")
            self._pixels[shard] = pixels
        return self._pixels[shard]

    def _table(self, shard: int, scale: Scale) -> _PatchTable:
        if (shard, scale) not in self._tables:
            entry = self.shards[shard].patches[scale.name]
            self._tables[shard, scale] = _PatchTable(self._map(entry, entry.rows))
        return self._tables[shard, scale]

    def _map(self, entry: FileEntry, rows: int) -> pa.RecordBatch:
        with self._lock:
            if entry.path not in self._mapped:
                self._mapped[entry.path] = self._open(entry, rows)
            return self._mapped[entry.path]

    def _open(self, entry: FileEntry, rows: int) -> pa.RecordBatch:
        path = self.path / entry.path
        try:
            batch = read_table(path)
            batch.validate()
        except (OSError, pa.ArrowException) as error:
            what = "missing" if isinstance(error, FileNotFoundError) else "damaged"
            raise UserError(f"{path}: {what}; {_REPAIR}") from None
        if batch.num_rows != rows:
            raise UserError(f"{path}: has {batch.num_rows} rows instead of {rows}; {_REPAIR}")
        return batch


class Photos(Sequence[PhotoRecord]):
    """The stored squares of a bank, numbered from 0 through all shards; a photo in tiles has several."""

    def __init__(self, bank: MemoryBank) -> None:
        self._bank = bank

    def __len__(self) -> int:
        return self._bank.manifest.squares

    @overload
    def __getitem__(self, index: int) -> PhotoRecord: ...

    @overload
    def __getitem__(self, index: slice) -> list[PhotoRecord]: ...

    def __getitem__(self, index: int | slice) -> PhotoRecord | list[PhotoRecord]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"photo {index} of a bank with {len(self)}")
        bank = self._bank
        shard = int(np.searchsorted(bank._first_photo, number, side="right")) - 1
        local = number - int(bank._first_photo[shard])
        batch = bank._map(bank.shards[shard].photos_file, bank.shards[shard].photos)
        fields = {name: batch.column(name)[local].as_py() for name in batch.schema.names if name != "pixels"}
        return PhotoRecord(**fields, pixels=bank._shard_pixels(shard)[local])


class _PatchTable:
    """The columns of one shard's table of patches."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        photo = batch.column("photo")
        self._ends = photo.run_ends.to_numpy()
        self._photos = photo.values.to_numpy()
        self._y = batch.column("y").to_numpy()
        self._x = batch.column("x").to_numpy()
        self.classes = batch.column("class").to_numpy() if "class" in batch.schema.names else None

    def locate(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        run = np.searchsorted(self._ends, rows, side="right")
        return self._photos[run], self._y[rows], self._x[rows]


def _windows(pixels: np.ndarray, size: int) -> np.ndarray:
    """All patches of photos as a view: uint8 `[P, S-size+1, S-size+1, size, 3*size]`, no pixel copied."""
    photos, side = pixels.shape[:2]
    places = side - size + 1
    photo, line, column, _ = pixels.strides
    return np.lib.stride_tricks.as_strided(
        pixels, (photos, places, places, size, 3 * size), (photo, line, column, line, 1), writeable=False
    )


def _offsets(counts: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
