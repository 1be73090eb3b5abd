"""The records of an index: what was asked for, learned, written and measured. Free of FAISS and torch."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from pydantic import Field

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.manifest import FileEntry, Model, digest

# A fall of recall@1, at the same number of lists scanned, that says the lists no longer fit the rows.
_DRIFT = 0.01
_SIGMAS = 2


class Request(Model):
    """What was asked for."""

    factory: str = "auto"
    shards: int = 1
    min_recall: float = 0.95
    min_contrast: float = Field(
        1.0,
        description="rows that differ from the mean patch by less are left out; grey levels, "
        "root mean square",
    )
    memory: int | None = Field(
        None, description="most bytes for all scales' indexes; none: what was free, halved"
    )
    seed: int = 0

    def least_norm(self, scale: Scale) -> float:
        """Length of a centred row, in units of [-1, 1], below which it is left out."""
        return self.min_contrast / 127.5 * math.sqrt(scale.dimension)


class Source(Model):
    """The patches of one state of a bank."""

    size: int
    stride: int
    rows: int
    mean_sha256: str = Field(description="of the float32 mean patch")
    bank_shards: tuple[str, ...] = Field(description="identity of each bank shard")

    @property
    def scale(self) -> Scale:
        return Scale(self.size, self.stride)

    @classmethod
    def of(cls, bank: MemoryBank, scale: Scale) -> Source:
        """The patches of this scale of a bank as it is now."""
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

    format_version: Literal[3] = 3
    request: Request
    source: Source = Field(description="what it learned from")
    mean: tuple[float, ...] = Field(
        description="float32 patch that all rows are centred by: that of `source`, whatever was added later"
    )
    factory: str
    metric: Literal["inner_product", "l2"]
    nprobe: int
    rerank: int
    lists: int = Field(description="inverted lists; 0: the index has none")
    training_rows: int = Field(description="that it learned from; 0: there was nothing to learn")
    faiss: str = Field(description="version that trained it")
    file: FileEntry

    @property
    def centre(self) -> np.ndarray:
        """`mean` as float32 `[D]`."""
        return np.array(self.mean, np.float32)

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
    content: str = Field(description="SHA-256 of those bank shards' identities")
    first_row: int
    rows: int = Field(description="of those bank shards; its index holds all but the ones left out")
    file: FileEntry
    left_out: LeftOut


class Audit(Model):
    """Recall against exact search, in the loss's metric, of held-out queries (see `art2real.index.audit`)."""

    recall_at_1: float
    recall_at_5: float
    nprobe: int = Field(description="inverted lists scanned for a query, as tuned to reach min_recall")
    reached: bool = Field(description="whether recall@1 is at least the request's min_recall")
    queries: int
    queries_per_second: float


class IndexManifest(Model):
    """The index of one scale of a bank."""

    trained: Trained
    covers: Source = Field(description="the bank's state whose rows it has; `trained.source` or a later one")
    parts: tuple[Part, ...]
    audit: Audit
    first_audit: Audit = Field(description="before rows were added; the same as `audit` until then")
    drift: float = Field(
        description="by how much recall@1, with the lists scanned of `first_audit`, fell since"
    )

    @property
    def drifted(self) -> bool:
        """Whether what was trained no longer fits the rows that were added."""
        if self.covers == self.trained.source:
            return False
        # The audits ask with different photos, so that a part of the fall is chance.
        recall = self.first_audit.recall_at_1
        chance = math.sqrt(recall * (1 - recall) * (1 / self.first_audit.queries + 1 / self.audit.queries))
        fell = self.drift > max(_DRIFT, _SIGMAS * chance)
        return fell or (self.first_audit.reached and not self.audit.reached)

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
        return {
            "size": self.covers.size,
            "stride": self.covers.stride,
            "factory": self.trained.factory,
            "metric": self.trained.metric,
            "rows": self.covers.rows,
            "left_out": self.left_out,
            "min_contrast": self.trained.request.min_contrast,
            "shards": len(self.parts),
            "nprobe": self.nprobe,
            "rerank": self.trained.rerank,
            "recall_at_1": self.audit.recall_at_1,
            "recall_at_5": self.audit.recall_at_5,
            "min_recall": self.trained.request.min_recall,
            "min_recall_reached": self.audit.reached,
            "queries": self.audit.queries,
            "queries_per_second": self.audit.queries_per_second,
            "rows_added": self.covers.rows - self.trained.source.rows,
            "drift": self.drift,
            "drifted": self.drifted,
            "bytes": self.bytes,
            "bytes_per_row": round(self.bytes / max(self.covers.rows, 1), 1),
        }
