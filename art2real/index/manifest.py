"""The files of an index under `BANK/index/<scale>/`, and whether they fit the bank. Free of FAISS and torch.

trained.index  trained.json        the quantizer (and PCA) that all shards share
part-00000.index  part-00000.json  one shard; its record is written after its files
part-00000.left_out.arrow          the rows that the shard does not hold
manifest.json                      written last: without it there is no index

What the records say is in `art2real.index.records`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.manifest import Model
from art2real.errors import UserError
from art2real.index.records import Audit, IndexManifest, LeftOut, Part, Request, Source, Trained

__all__ = [
    "MANIFEST",
    "Audit",
    "IndexManifest",
    "LeftOut",
    "Part",
    "Request",
    "Source",
    "Trained",
    "check_index",
    "describe",
    "index_folder",
    "read_manifest",
    "read_record",
    "what_is_lacking",
]

MANIFEST = "manifest.json"
Record = TypeVar("Record", bound=Model)


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
    had, now = manifest.covers, Source.of(bank, scale)
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
        f"{'was' if shards == 1 else 'were'} appended since; run `build-index {bank}`"
    )


def describe(bank: Path) -> list[dict[str, Any]]:
    """The indexes of a bank, largest patches first, for `inspect`.

    Each is its `IndexManifest.summary()` and `lacks_rows`: rows of the bank that were appended since, which
    `build-index` adds; all rows, as `foreign` says too, where it was built from another bank.

    Raises:
        UserError: there is no bank, or a manifest is damaged or of another version.
    """
    opened = MemoryBank.open(bank)
    entries = []
    for scale in sorted(opened.scales, key=lambda scale: (-scale.size, -scale.stride)):
        manifest = read_manifest(bank, scale)
        if manifest is None:
            continue
        had, now = manifest.covers, Source.of(opened, scale)
        foreign = had != now and not had.grew_into(now)
        lacks = now.rows if foreign else now.rows - had.rows
        entries.append({**manifest.summary(), "lacks_rows": lacks, "foreign": foreign})
    return entries
