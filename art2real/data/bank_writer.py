"""Writes one shard of a memory bank: a plain function of its task, on any machine, in any order.

A shard's bytes depend on its files and the settings only. Every file gets a temporary name and is renamed
when complete; the shard's record is written last, so a shard that has a record is whole.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from art2real.core.scale import Scale
from art2real.data.checksums import file_xxh3
from art2real.data.corpus import printable
from art2real.data.images import BadImage, decode, read, square, to_array
from art2real.data.manifest import (
    FORMAT_VERSION,
    BankSettings,
    FileEntry,
    Model,
    PatchEntry,
    ShardInfo,
    ShardRecord,
    Skipped,
    digest,
    load_document,
    temporary_name,
    write_text,
)
from art2real.errors import UserError

ID_DIGITS = 16
"""Digits of a photo's content hash that make its id."""


class ShardTask(Model):
    """All that a worker needs to write one shard."""

    photos: str
    bank: str
    number: int
    files: tuple[tuple[str, int], ...]
    settings: BankSettings

    @property
    def name(self) -> str:
        return f"part-{self.number:05d}"

    @property
    def corpus_sha256(self) -> str:
        return corpus_sha256(self.files)

    @property
    def record_path(self) -> str:
        """Relative to the bank."""
        return f"records/{self.name}.json"


@dataclass
class _Photo:
    path: str
    sha256: str
    width: int
    height: int


def corpus_sha256(files: tuple[tuple[str, int], ...]) -> str:
    """SHA-256 of the paths and sizes of files: tells whether a corpus is still the same."""
    return digest(f"{size} {path}" for path, size in files)


def finished_record(task: ShardTask) -> ShardRecord | None:
    """The record of a shard that is complete; None if it has to be written.

    Raises:
        UserError: the shard was made with other settings or from other files.
    """
    bank = Path(task.bank)
    path = bank / task.record_path
    if not path.is_file():
        return None
    record = load_document(path, ShardRecord)
    difference = task.settings.difference(record.settings)
    if difference is not None:
        raise UserError(f"{path}: the shard was built with other settings ({difference}); use --overwrite")
    if record.corpus_sha256 != task.corpus_sha256:
        raise UserError(
            f"{path}: the shard was built from other files than {task.photos} has now; use --overwrite"
        )
    files = record.shard.files if record.shard is not None else []
    whole = all(_size(bank / entry.path) == entry.bytes for entry in files)
    return record if whole else None


def write_shard(task: ShardTask) -> ShardRecord:
    """Decodes the photos of a shard and writes its files, unless it is complete already.

    A file that cannot be used is noted in the record and left out; if that leaves no photo, only the record
    is written.

    Raises:
        UserError: as `finished_record`.
        OSError: the bank cannot be written to.
    """
    finished = finished_record(task)
    if finished is not None:
        return finished
    bank, settings = Path(task.bank), task.settings
    pixels, photos, skipped = _decode_all(task)
    shard = None
    if photos:
        photos_file = _write(bank, f"photos/{task.name}.arrow", _photo_table(photos, pixels))
        patches = {}
        for scale in settings.scales:
            table = _patch_table(scale, len(photos), settings.image_size)
            entry = _write(bank, f"patches/{scale.name}/{task.name}.arrow", table)
            patches[scale.name] = PatchEntry(**entry.model_dump(), rows=table.num_rows)
        shard = ShardInfo(name=task.name, photos=len(photos), photos_file=photos_file, patches=patches)
    record = ShardRecord(
        settings=settings,
        corpus_sha256=task.corpus_sha256,
        shard=shard,
        sums={scale.name: _patch_sums(pixels, scale) for scale in settings.scales},
        skipped=tuple(skipped),
    )
    path = bank / task.record_path
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, record.to_json())
    return record


def _decode_all(task: ShardTask) -> tuple[np.ndarray, list[_Photo], list[Skipped]]:
    size, limits = task.settings.image_size, task.settings.limits
    pixels = np.empty((len(task.files), size, size, 3), np.uint8)
    photos: list[_Photo] = []
    skipped: list[Skipped] = []
    for relative, _ in task.files:
        try:
            content = read(Path(task.photos) / relative, limits)
            image = decode(content, limits)
        except BadImage as error:
            skipped.append(Skipped(path=relative, cause=error.cause, detail=error.detail))
            continue
        pixels[len(photos)] = to_array(square(image, size))
        photos.append(_Photo(relative, hashlib.sha256(content).hexdigest(), image.width, image.height))
    return pixels[: len(photos)], photos, skipped


def _photo_table(photos: list[_Photo], pixels: np.ndarray) -> pa.RecordBatch:
    nothing = pa.nulls(len(photos), pa.string())
    columns = {
        "id": pa.array([photo.sha256[:ID_DIGITS] for photo in photos], pa.string()),
        "source": pa.array([printable(photo.path) for photo in photos], pa.string()),
        "sha256": pa.array([photo.sha256 for photo in photos], pa.string()),
        "width": pa.array([photo.width for photo in photos], pa.int32()),
        "height": pa.array([photo.height for photo in photos], pa.int32()),
        "licence": nothing,
        "attribution": nothing,
        "pixels": pa.FixedShapeTensorArray.from_numpy_ndarray(pixels, dim_names=["y", "x", "channel"]),
    }
    return pa.record_batch(columns)


def _patch_table(scale: Scale, photos: int, image_size: int) -> pa.RecordBatch:
    y, x = scale.positions(image_size, image_size)
    kind = np.min_scalar_type(image_size - 1)
    ends = np.arange(1, photos + 1, dtype=np.int32) * np.int32(len(y))
    photo = pa.RunEndEncodedArray.from_arrays(pa.array(ends), pa.array(np.arange(photos, dtype=np.int32)))
    columns = {
        "photo": photo,
        "y": pa.array(np.tile(y.astype(kind), photos)),
        "x": pa.array(np.tile(x.astype(kind), photos)),
    }
    return pa.record_batch(columns)


def _patch_sums(pixels: np.ndarray, scale: Scale) -> tuple[int, ...]:
    """Exact sums over all patches, channel-major: over photos first, which is quicker, then over places."""
    total = pixels.sum(axis=0, dtype=np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(total, (scale.size, scale.size), axis=(0, 1))
    sums = windows[:: scale.stride, :: scale.stride].sum(axis=(0, 1), dtype=np.uint64)
    return tuple(sums.ravel().tolist())


def _write(bank: Path, relative: str, table: pa.RecordBatch) -> FileEntry:
    path = bank / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = table.schema.with_metadata({"art2real_bank_format": str(FORMAT_VERSION)})
    temporary = temporary_name(path)
    try:
        with temporary.open("wb", buffering=io.DEFAULT_BUFFER_SIZE) as file:
            with pa.ipc.new_file(file, schema) as writer:
                writer.write_batch(table.replace_schema_metadata(schema.metadata))
            file.flush()
            os.fsync(file.fileno())
        entry = FileEntry(path=relative, bytes=temporary.stat().st_size, checksum=file_xxh3(temporary))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return entry


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
