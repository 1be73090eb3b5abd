"""Which files of a corpus a bank has read before, so that an addition need not read them again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import xxhash

from art2real.data.corpus import printable
from art2real.data.duplicates import first_squares
from art2real.data.manifest import ShardRecord
from art2real.data.sources.entry import Entry


class Known:
    """Names and sizes of files, as hashes of 64 bits: ten million take less than a gigabyte."""

    def __init__(self, bank: Path, records: Iterable[ShardRecord]) -> None:
        """`records`: of the tasks that read this corpus before."""
        self._sized: set[int] = set()
        self._named: set[int] = set()
        for record in records:
            for source, size in _files(bank, record):
                self._sized.add(_hash(f"{size} {source}"))
                self._named.add(_hash(source))

    def has(self, entry: Entry) -> bool:
        """Whether a file of this name and size was read; of the name alone where the size is not known."""
        source = printable(entry.source)
        if entry.bytes < 0:
            return _hash(source) in self._named
        return _hash(f"{entry.bytes} {source}") in self._sized


def _files(bank: Path, record: ShardRecord) -> Iterator[tuple[str, int]]:
    for shard in record.shards:
        columns = first_squares(bank, shard)
        yield from zip(columns["source"].to_pylist(), columns["bytes"].to_pylist(), strict=True)
    for skipped in record.skipped:
        yield printable(skipped.path), skipped.bytes


def _hash(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogateescape"))
