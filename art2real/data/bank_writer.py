"""Writes the shards of one task: a plain function of the task, on any machine, in any order.

Their bytes depend on the task's files and the settings only. Every file gets a temporary name and is renamed
when complete; the task's record is written last, so a task that has a record is done.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from art2real.core.scale import Scale
from art2real.data.bank_files import SquareRow, add_patch_sums, photo_table, write_tables
from art2real.data.corpus import printable
from art2real.data.images import BadImage, ImageLimits, decode
from art2real.data.listing import read_listing
from art2real.data.manifest import (
    BankSettings,
    Model,
    ShardInfo,
    ShardRecord,
    Skipped,
    load_document,
    write_text,
)
from art2real.data.masks import decode_mask, patch_classes
from art2real.data.reused import ReusedMemory
from art2real.data.sources import read_entry, read_file
from art2real.data.sources.entry import Entry
from art2real.errors import UserError

# Remote files that are fetched side by side: a decoder takes a millisecond, an answer from afar thirty.
_FETCHES = 16

# A photo of more pixels than this is decoded into memory of its own.
_PHOTO_BYTES = 32 * 2**20
_photos = ReusedMemory(_PHOTO_BYTES)
_squares = ReusedMemory(128 * 2**20, pieces=2)

_decoding = threading.Lock()
"""Of the tasks that a process does side by side one has its photos decoded, while the files of another are
written: two that decode would only take each other's time."""


class ShardTask(Model):
    """All that a worker needs to turn a run of files into shards."""

    bank: str
    number: int
    listed: int
    """Number of the run in the bank's listing."""
    files: int
    input_sha256: str
    settings: BankSettings
    anonymous: bool = False
    """Read remote files without credentials."""
    drop: tuple[tuple[int, str], ...] = ()
    """Photos to leave out of the shards that are there, counted within the task, each with the name of the
    photo that it is a copy of."""

    @property
    def name(self) -> str:
        return task_name(self.number)

    @property
    def record_path(self) -> str:
        """Relative to the bank."""
        return record_path(self.number)


def task_name(number: int) -> str:
    """The name of a task, which its first shard bears."""
    return f"part-{number:05d}"


def record_path(number: int) -> str:
    """The record of a task, relative to the bank."""
    return f"records/{task_name(number)}.json"


def finished_record(task: ShardTask) -> ShardRecord | None:
    """The record of a task that is done; None if it has to be done.

    Raises:
        UserError: it was done with other settings or from other files.
    """
    bank = Path(task.bank)
    path = bank / task.record_path
    if not path.is_file():
        return None
    record = load_document(path, ShardRecord)
    difference = task.settings.difference(record.settings)
    if difference is not None:
        raise UserError(f"{path}: the shard was built with other settings ({difference}); use --overwrite")
    if record.input_sha256 != task.input_sha256:
        raise UserError(f"{path}: the shard was built from other files than there are now; use --overwrite")
    whole = all(_size(bank / entry.path) == entry.bytes for shard in record.shards for entry in shard.files)
    return record if whole else None


def write_shards(task: ShardTask) -> ShardRecord:
    """Decodes the photos of a task and writes its shards, unless that is done already.

    A file that cannot be used is noted in the record and left out; if that leaves none, only the record is
    written.

    Raises:
        UserError: as `finished_record`.
        OSError: the bank cannot be written to.
    """
    finished = finished_record(task)
    if finished is not None:
        return finished
    with _decoding, _photos.lend(_PHOTO_BYTES) as photo, _squares.lend(_bytes_of_squares(task)) as squares:
        record = _write_shards(task, photo, squares)
    write_record(task, record)
    return record


def _write_shards(task: ShardTask, memory: np.ndarray, squares: np.ndarray) -> ShardRecord:
    """`write_shards`, with memory to decode a photo into and for the squares of a shard."""
    limits = task.settings.limits
    entries = read_listing(Path(task.bank), task.listed)
    shards = _Shards(task, squares, classes=any(entry.mask is not None for entry in entries))
    skipped: list[Skipped] = []
    for entry, content in _contents(entries, limits, task.anonymous):
        try:
            if isinstance(content, BadImage):
                raise content
            photo = decode(content, limits, memory)
            height, width = photo.shape[:2]
            shape = task.settings.geometry(width, height)
            mask = None
            if entry.mask is not None:
                mask = _mask(entry.mask, width, height, limits, task.anonymous)
        except BadImage as error:
            skipped.append(
                Skipped(path=entry.source, bytes=entry.bytes, cause=error.cause, detail=error.detail)
            )
            continue
        pixels = shape.squares(photo, Image.Resampling.BICUBIC)
        classes = None if mask is None else shape.squares(mask, Image.Resampling.NEAREST)
        sha256 = hashlib.sha256(content).hexdigest()
        for number, square in enumerate(pixels):
            row = SquareRow(
                source=printable(entry.source),
                sha256=sha256,
                bytes=len(content),
                width=width,
                height=height,
                tile=number,
                place=shape.place(number),
                licence=entry.licence,
                attribution=entry.attribution,
            )
            shards.add(row, square, None if classes is None else classes[number])
    return ShardRecord(
        settings=task.settings,
        input_sha256=task.input_sha256,
        photos=task.files - len(skipped),
        shards=tuple(shards.finish()),
        sums=shards.sums,
        skipped=tuple(skipped),
    )


def write_record(task: ShardTask, record: ShardRecord) -> None:
    """Writes the record of a task: from then on its shards exist."""
    path = Path(task.bank) / task.record_path
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, record.to_json())


def shard_name(task: ShardTask, number: int) -> str:
    """The name of a task's shard: most tasks have one."""
    return task.name if number == 0 else f"{task.name}-{number:03d}"


def _bytes_of_squares(task: ShardTask) -> int:
    """Of the pixels of a task's shard, at most."""
    settings = task.settings
    squares = settings.squares_per_shard
    if settings.fit == "crop":
        squares = min(squares, task.files)
    return squares * 3 * settings.image_size**2


class _Shards:
    """Collects squares and writes a shard whenever one is full."""

    def __init__(self, task: ShardTask, memory: np.ndarray, *, classes: bool) -> None:
        """`memory`: `_bytes_of_squares`, uint8."""
        self._task = task
        settings = task.settings
        size, pixels = settings.image_size, memory[: _bytes_of_squares(task)]
        self._pixels = pixels.reshape(-1, size, size, 3)
        self._rows: list[SquareRow] = []
        self._classes: dict[Scale, list[np.ndarray]] | None = None
        if classes:
            self._classes = {scale: [] for scale in settings.scales}
        self._written: list[ShardInfo] = []
        self._sums = {scale: np.zeros(scale.dimension, np.uint64) for scale in settings.scales}

    @property
    def sums(self) -> dict[str, tuple[int, ...]]:
        return {scale.name: tuple(sums.tolist()) for scale, sums in self._sums.items()}

    def add(self, row: SquareRow, pixels: np.ndarray, classes: np.ndarray | None) -> None:
        if len(self._rows) == len(self._pixels):
            self._write()
        self._pixels[len(self._rows)] = pixels
        self._rows.append(row)
        if self._classes is not None:
            for scale, found in self._classes.items():
                rows = len(scale.positions(*pixels.shape[:2])[0])
                found.append(np.zeros(rows, np.uint16) if classes is None else patch_classes(classes, scale))

    def finish(self) -> list[ShardInfo]:
        if self._rows:
            self._write()
        return self._written

    def _write(self) -> None:
        pixels = self._pixels[: len(self._rows)]
        add_patch_sums(self._sums, pixels)
        classes = None
        if self._classes is not None:
            classes = {scale: np.concatenate(found) for scale, found in self._classes.items()}
            for found in self._classes.values():
                found.clear()
        name = shard_name(self._task, len(self._written))
        table = photo_table(self._rows, pixels)
        settings = self._task.settings
        with _others_decode():
            self._written.append(write_tables(Path(self._task.bank), name, settings, table, classes))
        self._rows = []


@contextmanager
def _others_decode() -> Iterator[None]:
    _decoding.release()
    try:
        yield
    finally:
        _decoding.acquire()


def _contents(
    entries: list[Entry], limits: ImageLimits, anonymous: bool
) -> Iterator[tuple[Entry, bytes | BadImage]]:
    """The bytes of files, in order; remote ones are fetched ahead."""

    def fetch(entry: Entry) -> bytes | BadImage:
        try:
            return read_entry(entry, limits, anonymous)
        except BadImage as error:
            return error

    if not any("://" in entry.file for entry in entries):
        yield from ((entry, fetch(entry)) for entry in entries)
        return
    with ThreadPoolExecutor(_FETCHES) as pool:
        ahead = deque((entry, pool.submit(fetch, entry)) for entry in entries[:_FETCHES])
        for following in [*entries[_FETCHES:], *[None] * len(ahead)]:
            entry, content = ahead.popleft()
            if following is not None:
                ahead.append((following, pool.submit(fetch, following)))
            yield entry, content.result()


def _mask(file: str, width: int, height: int, limits: ImageLimits, anonymous: bool) -> np.ndarray:
    try:
        content = read_file(file, limits, anonymous)
    except BadImage as error:
        raise BadImage("bad_mask", f"its mask cannot be read: {error.detail}") from None
    return decode_mask(content, width, height, limits)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
