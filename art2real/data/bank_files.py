"""The Arrow files of a bank's shards: their columns, and how they are written whole or not at all."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from art2real.core.scale import Scale
from art2real.data.checksums import file_xxh3
from art2real.data.manifest import (
    FORMAT_VERSION,
    BankSettings,
    FileEntry,
    PatchEntry,
    ShardInfo,
    temporary_name,
)

ID_DIGITS = 16
"""Digits of a photo's content hash that make its id."""


@dataclass
class SquareRow:
    """What is known of a stored square beside its pixels."""

    source: str
    sha256: str
    bytes: int
    width: int
    height: int
    tile: int
    """Number of the square in its photo, row-major; 0: its first, or only, one."""
    place: tuple[float, float, float]
    """Left, top and side in pixels of the upright original."""
    licence: str | None
    attribution: str | None


def photo_table(rows: list[SquareRow], pixels: np.ndarray) -> pa.RecordBatch:
    """The table of a shard's squares; `pixels` uint8 `[P, S, S, 3]`."""
    place = np.array([row.place for row in rows], np.float32).reshape(len(rows), 3)
    columns = {
        "id": pa.array([row.sha256[:ID_DIGITS] for row in rows], pa.string()),
        "source": pa.array([row.source for row in rows], pa.string()),
        "sha256": pa.array([row.sha256 for row in rows], pa.string()),
        "bytes": pa.array([row.bytes for row in rows], pa.int64()),
        "width": pa.array([row.width for row in rows], pa.int32()),
        "height": pa.array([row.height for row in rows], pa.int32()),
        "tile": pa.array([row.tile for row in rows], pa.int32()),
        "crop_x": pa.array(place[:, 0]),
        "crop_y": pa.array(place[:, 1]),
        "crop_side": pa.array(place[:, 2]),
        "licence": pa.array([row.licence for row in rows], pa.string()),
        "attribution": pa.array([row.attribution for row in rows], pa.string()),
        "pixels": pa.FixedShapeTensorArray.from_numpy_ndarray(pixels, dim_names=["y", "x", "channel"]),
    }
    return pa.record_batch(columns)


def patch_table(
    scale: Scale, squares: int, image_size: int, classes: np.ndarray | None = None
) -> pa.RecordBatch:
    """The table of a shard's patches; `classes` uint16 `[R]`, where masks were given."""
    y, x = scale.positions(image_size, image_size)
    kind = np.min_scalar_type(image_size - 1)
    ends = np.arange(1, squares + 1, dtype=np.int32) * np.int32(len(y))
    photo = pa.RunEndEncodedArray.from_arrays(pa.array(ends), pa.array(np.arange(squares, dtype=np.int32)))
    columns = {
        "photo": photo,
        "y": pa.array(np.tile(y.astype(kind), squares)),
        "x": pa.array(np.tile(x.astype(kind), squares)),
    }
    if classes is not None:
        columns["class"] = pa.array(classes)
    return pa.record_batch(columns)


def write_tables(
    bank: Path,
    name: str,
    settings: BankSettings,
    photos: pa.RecordBatch,
    classes: dict[Scale, np.ndarray] | None,
) -> ShardInfo:
    """Writes the files of a shard and describes them.

    Raises:
        OSError: the bank cannot be written to.
    """
    photos_file = f"photos/{name}.arrow"
    patch_files = {scale: f"patches/{scale.name}/{name}.arrow" for scale in settings.scales}
    tables = {photos_file: photos}
    for scale, file in patch_files.items():
        found = None if classes is None else classes[scale]
        tables[file] = patch_table(scale, photos.num_rows, settings.image_size, found)
    entries = _write(bank, tables)
    return ShardInfo(
        name=name,
        photos=photos.num_rows,
        photos_file=entries[photos_file],
        patches={
            scale.name: PatchEntry(**entries[file].model_dump(), rows=tables[file].num_rows)
            for scale, file in patch_files.items()
        },
    )


def read_table(path: Path) -> pa.RecordBatch:
    """A file of a bank, memory-mapped."""
    # Arrow takes names as they are on disk. The mapping outlives the file handle, of which a large bank would
    # need thousands.
    with pa.memory_map(os.fsencode(path)) as file:
        return pa.ipc.open_file(file).get_batch(0)


def why(error: OSError) -> str:
    """Why the disk refused; Arrow's own errors have it at their end only."""
    return error.strerror or str(error).rpartition("] ")[2]


def add_patch_sums(sums: dict[Scale, np.ndarray], pixels: np.ndarray) -> None:
    """Adds all patches of the squares uint8 `[P, S, S, 3]`, exactly, to `sums`: uint64 `[D]`, channel-major.

    Squares are summed first, which is quicker, and in 16 bits, of which 257 fill no more than all.
    """
    total = np.zeros(pixels.shape[1:], np.uint64)
    for first in range(0, len(pixels), 257):
        total += pixels[first : first + 257].sum(axis=0, dtype=np.uint16)
    for scale, mine in sums.items():
        windows = np.lib.stride_tricks.sliding_window_view(total, (scale.size, scale.size), axis=(0, 1))
        mine += windows[:: scale.stride, :: scale.stride].sum(axis=(0, 1), dtype=np.uint64).ravel()


def _write(bank: Path, tables: dict[str, pa.RecordBatch]) -> dict[str, FileEntry]:
    """Writes tables by their file's name in the bank: none of them is there before all are on the disk."""
    temporary = {name: temporary_name(bank / name) for name in tables}
    try:
        for name, table in tables.items():
            _write_file(temporary[name], table)
        # While the system writes them to the disk. The files are waited for together: alone, each would cost
        # an entry in the file system's journal.
        entries = {
            name: FileEntry(path=name, bytes=path.stat().st_size, checksum=file_xxh3(path))
            for name, path in temporary.items()
        }
        for path in temporary.values():
            with path.open("rb") as written:
                os.fsync(written.fileno())
                _give_back(written.fileno())
        for name, path in temporary.items():
            path.replace(bank / name)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
    return entries


def _write_file(path: Path, table: pa.RecordBatch) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = table.schema.with_metadata({"art2real_bank_format": str(FORMAT_VERSION)})
    # Arrow's own file: through Python's, the pixels would be copied once more.
    with pa.OSFile(os.fsencode(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_batch(table.replace_schema_metadata(schema.metadata))
    with path.open("rb") as written:
        _give_back(written.fileno())


def _give_back(descriptor: int) -> None:
    """Has the system write a file to the disk, without waiting, and forget what is there already.

    A bank larger than the memory would push all else out of its cache, this build too.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
