"""What is said of the index of one scale of a memory bank."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from art2real.cli.common import counted
from art2real.cli.described.files import OnProgress, damaged_files
from art2real.cli.described.table import columns, labelled
from art2real.errors import UserError

if TYPE_CHECKING:
    from art2real.index.manifest import IndexManifest


def describe_index(path: Path) -> dict[str, Any]:
    """What `inspect` says of an index."""
    return {"kind": "index", "path": str(path), **_manifest(path).summary()}


def index_as_text(data: dict[str, Any]) -> str:
    """`describe_index` for people."""
    return "\n".join([f"index of {data['path']}", labelled("index", index_lines([data]))])


def index_lines(indexes: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each index, in columns."""
    cells = [
        [
            f"{index['size']}:{index['stride']}",
            index["factory"],
            f"{index['rows']:,} rows",
            counted(index["shards"], "shard"),
            f"recall@1 {index['recall_at_1']:.3f}",
            f"recall@5 {index['recall_at_5']:.3f}",
            _exceptions(index),
        ]
        for index in indexes
    ]
    return columns(cells, "<<>><<<")


def _exceptions(index: dict[str, Any]) -> str:
    said = []
    if index["left_out"]:
        said.append(f"{counted(index['left_out'], 'near-constant row')} left out")
    if index.get("lacks_rows"):  # only where it is described together with its bank
        mend = "build-index --overwrite" if index["foreign"] else "build-index"
        said.append(f"lacks {counted(index['lacks_rows'], 'row')} of the bank: {mend}")
    return ", ".join(said)


def verify_index(folder: Path, on_progress: OnProgress) -> list[str]:
    """The files of an index that are missing or damaged, by their path in the bank."""
    from art2real.data.checksums import file_xxh3

    files = {entry.path: entry.checksum for entry in _manifest(folder).files}
    return damaged_files(folder.resolve().parents[1], files, file_xxh3, on_progress)


def _manifest(folder: Path) -> IndexManifest:
    from art2real.index.manifest import MANIFEST, IndexManifest, read_record

    manifest = read_record(folder / MANIFEST, IndexManifest)
    if manifest is None:
        raise UserError(f"{folder}: not finished; run build-index on its bank")
    return manifest
