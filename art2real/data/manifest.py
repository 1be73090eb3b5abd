"""What is written about a memory bank: `manifest.json`, the records of its shards, and its settings."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from art2real.core.scale import Scale
from art2real.data.checksums import file_xxh3
from art2real.data.geometry import Fit, Geometry, geometry
from art2real.data.images import ImageLimits
from art2real.errors import UserError

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
SKIPPED = "skipped.jsonl"
SEAL = "manifest_sha256"
"""The manifest's field with the checksum of its other fields."""
BUILDING = "building.json"
"""Present while a bank is being built; holds a `Building`."""
_SHARD_BYTES = 64 * 2**20
DEFAULT_SCALES = (Scale(16, 6), Scale(8, 5), Scale(4, 4))

Document = TypeVar("Document", bound="Model")


class Model(BaseModel):
    """Frozen; fields that a later version added without a new format version are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=1) + "\n"


class BankSettings(Model):
    """Everything, beside the photos, that decides the bytes of a bank."""

    image_size: int = Field(256, ge=8, le=8192, description="side of the stored photos, pixels")
    scales: tuple[Scale, ...] = DEFAULT_SCALES
    fit: Fit = Field("crop", description="crop: the centre of each photo; tile: all of it, in squares")
    tile_stride: int | None = Field(None, ge=1, description="step of the tiles, pixels; none: their size")
    resize: bool = Field(True, description="scale the shorter side of each photo to image_size")
    photos_per_shard: int = Field(
        256, ge=1, description="files of the corpus that one task turns into shards"
    )
    min_side: int = Field(ImageLimits.min_side, ge=1, description="least side of a photo, pixels")
    max_bytes: int = Field(ImageLimits.max_bytes, ge=1, description="largest file, bytes")
    max_pixels: int = Field(ImageLimits.max_pixels, ge=1, description="most pixels of a file")

    @model_validator(mode="after")
    def _scales_fit(self) -> BankSettings:
        if not self.scales:
            raise ValueError("a bank needs at least one scale")
        if len(set(self.scales)) != len(self.scales):
            raise ValueError("a scale is given twice")
        for scale in self.scales:
            if scale.size > self.image_size:
                raise ValueError(
                    f"patches of scale {scale} are larger than the {self.image_size}-pixel photos"
                )
        return self

    @property
    def limits(self) -> ImageLimits:
        return ImageLimits(self.max_bytes, self.max_pixels, self.min_side)

    @property
    def squares_per_shard(self) -> int:
        """Most squares in one shard: so a worker's memory is bounded, whatever their size."""
        return max(1, _SHARD_BYTES // (3 * self.image_size**2))

    @property
    def bytes_per_square(self) -> int:
        """Bytes of a stored square and its rows of patches, to within a few per cent."""
        side = self.image_size
        patches = sum(rows * columns for rows, columns in (scale.grid(side, side) for scale in self.scales))
        return 3 * side * side + 2 * np.min_scalar_type(side - 1).itemsize * patches

    def geometry(self, width: int, height: int) -> Geometry:
        """How a photo of this size becomes squares; see `art2real.data.geometry.geometry`."""
        return geometry(
            width,
            height,
            size=self.image_size,
            fit=self.fit,
            tile_stride=self.tile_stride or self.image_size,
            resize=self.resize,
            max_pixels=self.max_pixels,
        )

    def difference(self, other: BankSettings) -> str | None:
        """The first setting that differs, in words; None if they are the same."""
        for name in type(self).model_fields:
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                show = (lambda value: " ".join(map(str, value))) if name == "scales" else str
                return f"{name} {show(mine)}, not {show(theirs)}"
        return None


class FileEntry(Model):
    """A file of the bank: its path relative to the bank, its size, its checksum."""

    path: str
    bytes: int
    checksum: str = Field(description="XXH3 (128 bits) of the content, hexadecimal")


class PatchEntry(FileEntry):
    """A table of patches."""

    rows: int


class ShardInfo(Model):
    """A finished shard: its squares of photos and, by the name of the scale, its tables of patches."""

    name: str
    photos: int = Field(description="squares; several may be of one photo")
    photos_file: FileEntry
    patches: dict[str, PatchEntry]

    @property
    def files(self) -> list[FileEntry]:
        return [self.photos_file, *self.patches.values()]

    @property
    def identity(self) -> str:
        """SHA-256 that names the shard's content: what an index shard is built from."""
        tables = [f"{scale} {entry.checksum}" for scale, entry in self.patches.items()]
        return digest([self.photos_file.checksum, *tables])


class Skipped(Model):
    """A file of the corpus that was left out."""

    path: str
    bytes: int = Field(-1, description="its size as it was listed; -1: not known")
    cause: str
    detail: str


DUPLICATE = "duplicate"
"""The cause of files that are left out because the bank has the same bytes already."""


class ShardRecord(Model):
    """What became of one task's files. Written last: without it the task's shards do not exist."""

    settings: BankSettings
    input_sha256: str = Field(description="of the names and sizes of the files that it was made from")
    photos: int = Field(description="files that went in")
    shards: tuple[ShardInfo, ...] = Field(description="in order; none if not one of the files could be used")
    sums: dict[str, tuple[int, ...]] = Field(
        description="by scale, exact sums over all patches of each of a patch's values, channel-major"
    )
    skipped: tuple[Skipped, ...]


class Input(Model):
    """Where photos of the bank came from: one for its build, and one for each time it was appended to."""

    origin: str = Field(description="path or URI of the corpus")
    files: int = Field(description="image files that were found, those that the bank had already left out")
    not_images: int = Field(description="other files")
    unreadable: tuple[Skipped, ...] = Field(description="folders and archives that could not be listed")
    input_sha256: str = Field(description="of the names and sizes of the files")
    first_task: int
    tasks: int


class ScaleInfo(Model):
    """A scale of the bank."""

    size: int
    stride: int
    patches: int = Field(description="rows of the whole bank")
    mean: tuple[float, ...] = Field(description="mean patch, channel-major, in [-1, 1]")

    @property
    def scale(self) -> Scale:
        return Scale(self.size, self.stride)


class Manifest(Model):
    """`manifest.json`: what it does not name does not exist."""

    format_version: int
    art2real: str = Field(description="version of the package that wrote the bank")
    versions: dict[str, str] = Field(description="of the libraries that decided its bytes")
    settings: BankSettings
    photos: int = Field(description="photos that went in")
    squares: int = Field(description="stored squares; more than photos if these were cut into tiles")
    skipped: int
    skipped_by_cause: dict[str, int]
    inputs: tuple[Input, ...]
    input_sha256: str = Field(description="of the names and content hashes of all photos")
    scales: tuple[ScaleInfo, ...]
    shards: tuple[ShardInfo, ...]
    records: tuple[FileEntry, ...]
    skipped_file: FileEntry

    def to_json(self) -> str:
        """With a checksum of the manifest itself as its last field."""
        content = self.model_dump(mode="json")
        return json.dumps({**content, SEAL: _seal(content)}, indent=1) + "\n"

    @property
    def image_size(self) -> int:
        return self.settings.image_size

    @property
    def not_images(self) -> int:
        """Other files of the corpora, neither used nor counted as skipped."""
        return sum({each.origin: each.not_images for each in self.inputs}.values())

    @property
    def files(self) -> list[FileEntry]:
        """Every file of the bank but the manifest and the index."""
        return [*(entry for shard in self.shards for entry in shard.files), *self.records, self.skipped_file]

    @property
    def identity(self) -> str:
        """SHA-256 that names the bank's content."""
        return digest([str(self.format_version), *(shard.identity for shard in self.shards)])


def read_manifest(bank: Path) -> Manifest:
    """Reads `manifest.json`.

    Raises:
        UserError: there is no bank, it is not finished, is damaged, or has a format that is not known.
    """
    path = bank / MANIFEST
    if not path.is_file():
        if (bank / BUILDING).is_file():
            raise UserError(f"{bank}: not finished; run build-banks PHOTOS --out {bank} --resume")
        raise UserError(f"{bank}: not a memory bank (it has no {MANIFEST}); make one with build-banks")
    return load_document(path, Manifest)


class Building(Model):
    """What an unfinished bank, or an unfinished addition to one, is going to be."""

    format_version: int
    settings: BankSettings
    origin: str
    input_sha256: str = Field(description="as in Input; empty: not listed to the end yet")
    first_task: int = Field(description="0: the whole bank is being built")


def load_document(path: Path, kind: type[Document]) -> Document:
    """Reads a JSON file of the bank; one with a `format_version` that is not known is refused by it.

    Raises:
        UserError: the file is damaged, or of another format version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content.get("format_version", FORMAT_VERSION)
        if version != FORMAT_VERSION:
            raise UserError(
                f"{path}: format version {version} of memory banks is not known (this program writes "
                f"{FORMAT_VERSION}); use the art2real that wrote it, or build the bank again"
            )
        if kind is Manifest and content.pop(SEAL) != _seal(content):
            raise ValueError("the checksum is another one")
        return kind.model_validate(content)
    except (ValueError, AttributeError, KeyError):
        raise UserError(f"{path}: damaged; build the bank again with build-banks --overwrite") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _seal(content: dict[str, Any]) -> str:
    return digest([json.dumps(content, sort_keys=True, separators=(",", ":"))])


def write_text(path: Path, text: str) -> None:
    """Writes a file so that it is there whole or not at all."""
    temporary = temporary_name(path)
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_name(path: Path) -> Path:
    """A name beside `path` for a file that is being written; two writers never share one."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def describe_file(bank: Path, relative: str) -> FileEntry:
    """The entry of a file of the bank."""
    path = bank / relative
    return FileEntry(path=relative, bytes=path.stat().st_size, checksum=file_xxh3(path))


def digest(lines: Iterable[str]) -> str:
    """SHA-256 of lines of text; bytes of file names that are not UTF-8 count as they are."""
    checksum = hashlib.sha256()
    for line in lines:
        checksum.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return checksum.hexdigest()
