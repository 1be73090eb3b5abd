"""The records of an index, as JSON files under `BANK/index/<scale>/`. Free of FAISS and torch.

trained.index  trained.json        the quantizer (and PCA) that all shards share
part-00000.index  part-00000.json  one shard; its record is written after its files
part-00000.left_out.arrow          the rows that the shard does not hold
manifest.json                      written last: without it there is no index
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.manifest import FileEntry, Model, digest
from art2real.errors import UserError

MANIFEST = "manifest.json"
Record = TypeVar("Record", bound=Model)


class Request(Model):
    """What was asked for."""

    factory: str
    shards: int
    min_recall: float
    min_contrast: float = Field(
        description="rows that differ from the mean patch by less are left out; grey levels, root mean square"
    )
    seed: int

    def least_norm(self, scale: Scale) -> float:
        """Length of a centred row, in units of [-1, 1], below which it is left out."""
        return self.min_contrast / 127.5 * math.sqrt(scale.dimension)


class Source(Model):
    """The patches that an index was built from."""

    size: int
    stride: int
    rows: int
    mean_sha256: str = Field(description="of the float32 mean that rows were centred by")
    bank_shards: tuple[str, ...] = Field(description="identity of each bank shard")

    @property
    def scale(self) -> Scale:
        return Scale(self.size, self.stride)

    @classmethod
    def of(cls, bank: MemoryBank, scale: Scale) -> Source:
        """What an index of this scale of a bank must have been built from."""
        return cls(
            size=scale.size,
            stride=scale.stride,
            rows=bank.rows(scale),
            mean_sha256=digest([bank.mean(scale).tobytes().hex()]),
            bank_shards=tuple(shard.identity for shard in bank.shards),
        )

    def grew_into(self, now: Source) -> bool:
        """Whether `now` is this with shards appended."""
        count = len(self.bank_shards)
        return (
            self.scale == now.scale
            and len(now.bank_shards) > count
            and now.bank_shards[:count] == self.bank_shards
        )


class Trained(Model):
    """What all shards of a scale share."""

    format_version: Literal[2] = 2
    request: Request
    source: Source
    factory: str
    metric: Literal["inner_product", "l2"]
    nprobe: int
    rerank: int
    lists: int = Field(description="inverted lists; 0: the index has none")
    training_rows: int = Field(description="that it learned from; 0: there was nothing to learn")
    faiss: str = Field(description="version that trained it")
    file: FileEntry

    @property
    def identity(self) -> str:
        """SHA-256 of the record. The file's checksum is not enough: an index that learns nothing, such as
        Flat, has the same file for every bank."""
        return digest([self.to_json()])


class LeftOut(FileEntry):
    """The file that names the rows of a part's range that its index does not hold."""

    rows: int


class Part(Model):
    """One index shard: the rows of consecutive bank shards."""

    trained: str = Field(description="identity of the `Trained` that it was made with")
    bank_shards: tuple[int, ...] = Field(description="numbers of the bank shards")
    first_row: int
    rows: int = Field(description="of those bank shards; its index holds all but the ones left out")
    file: FileEntry
    left_out: LeftOut


class Audit(Model):
    """Recall against exact search, in the loss's metric (see `art2real.index.audit`)."""

    recall_at_1: float
    recall_at_5: float
    nprobe: int = Field(description="inverted lists scanned for a query, as tuned to reach min_recall")
    reached: bool = Field(description="whether recall@1 is at least the request's min_recall")
    queries: int
    queries_per_second: float


class IndexManifest(Model):
    """The index of one scale of a bank."""

    trained: Trained
    parts: tuple[Part, ...]
    audit: Audit

    @property
    def nprobe(self) -> int:
        """Inverted lists scanned for a query."""
        return self.audit.nprobe

    @property
    def files(self) -> list[FileEntry]:
        """The files of the index, for verification."""
        return [self.trained.file, *(file for part in self.parts for file in (part.file, part.left_out))]

    @property
    def bytes(self) -> int:
        """Bytes of all its files."""
        return sum(file.bytes for file in self.files)

    @property
    def left_out(self) -> int:
        """Rows of the bank that it does not hold, because they are too near to the mean."""
        return sum(part.left_out.rows for part in self.parts)

    def summary(self) -> dict[str, Any]:
        """What `inspect` and `build-index` say of it."""
        source = self.trained.source
        return {
            "size": source.size,
            "stride": source.stride,
            "factory": self.trained.factory,
            "metric": self.trained.metric,
            "rows": source.rows,
            "left_out": self.left_out,
            "min_contrast": self.trained.request.min_contrast,
            "shards": len(self.parts),
            "nprobe": self.nprobe,
            "rerank": self.trained.rerank,
            "recall_at_1": self.audit.recall_at_1,
            "recall_at_5": self.audit.recall_at_5,
            "min_recall": self.trained.request.min_recall,
            "min_recall_reached": self.audit.reached,
            "queries_per_second": self.audit.queries_per_second,
            "bytes": self.bytes,
            "bytes_per_row": round(self.bytes / max(source.rows, 1), 1),
        }


def index_folder(bank: Path, scale: Scale) -> Path:
    """Where the index of a scale lies."""
    return bank / "index" / scale.name


def read_record(path: Path, kind: type[Record]) -> Record | None:
    """A record, None where there is no such file.

    Raises:
        UserError: it is not a record of this kind and version.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{path} is damaged or of another version ({where}: {first['msg']}); "
            "build the index again with `build-index BANK --overwrite`"
        ) from None


def read_manifest(bank: Path, scale: Scale) -> IndexManifest | None:
    """The manifest of a scale's index, None where there is no complete index."""
    return read_record(index_folder(bank, scale) / MANIFEST, IndexManifest)


def check_index(bank: MemoryBank, scale: Scale) -> IndexManifest:
    """The manifest of a scale's index.

    Raises:
        UserError: there is no index, or it was built from another bank or an older state of this one.
    """
    if scale not in bank.scales:
        known = ", ".join(str(each) for each in bank.scales)
        raise UserError(f"bank {bank.path} has no scale {scale}; it has {known}")
    manifest = read_manifest(bank.path, scale)
    if manifest is None:
        raise UserError(
            f"bank {bank.path} has no index at scale {scale}; build it with `build-index {bank.path}`"
        )
    had, now = manifest.trained.source, Source.of(bank, scale)
    if had.grew_into(now):
        raise UserError(what_is_lacking(bank.path, had, now))
    if had != now:
        raise UserError(
            f"bank {bank.path} was built with other settings, or from other photos, than its index at scale "
            f"{scale}; build the index again with `build-index {bank.path} --overwrite`"
        )
    return manifest


def what_is_lacking(bank: Path, had: Source, now: Source) -> str:
    """Says which of a bank's appended rows an index of an earlier state has not got, and what to do."""
    shards = len(now.bank_shards) - len(had.bank_shards)
    counted = "1 shard" if shards == 1 else f"{shards} shards"
    return (
        f"bank {bank}: its index at scale {now.scale} lacks {counted} ({now.rows - had.rows:,} rows) that "
        f"{'was' if shards == 1 else 'were'} appended since; run `build-index {bank} --overwrite`"
    )


def describe(bank: Path) -> list[dict[str, Any]]:
    """The indexes of a bank, largest patches first, for `inspect`.

    Each is its `IndexManifest.summary()` and `lacks_rows`: rows of the bank that were appended since it was
    built; all rows where it was built from another bank.

    Raises:
        UserError: there is no bank, or a manifest is damaged or of another version.
    """
    opened = MemoryBank.open(bank)
    entries = []
    for scale in sorted(opened.scales, key=lambda scale: (-scale.size, -scale.stride)):
        manifest = read_manifest(bank, scale)
        if manifest is None:
            continue
        had, now = manifest.trained.source, Source.of(opened, scale)
        known = had.rows if had == now or had.grew_into(now) else 0
        entries.append({**manifest.summary(), "lacks_rows": now.rows - known})
    return entries
