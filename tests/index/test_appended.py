from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from art2real.data.bank import MemoryBank
from art2real.errors import UserError
from art2real.index.build import finished
from art2real.index.manifest import Source, check_index, describe
from art2real.index.retriever import open_retriever
from tests.index.banks import NARROW, WIDE, index_bank, make_bank, request


def appended(folder: Path, before: int, after: int) -> MemoryBank:
    """A bank of `after` photos, three a shard, with the index that it had when it was of `before` photos."""
    banks = [make_bank(folder / str(count), photos=count, per_shard=3) for count in (before, after)]
    index_bank(banks[0], WIDE, request())
    shutil.copytree(banks[0].path / "index", banks[1].path / "index")
    assert [entry["lacks_rows"] for entry in describe(banks[0].path)] == [0]
    return banks[1]


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (6, r"lacks 2 shards \(726 rows\) that were appended since"),
        (9, r"lacks 1 shard \(363 rows\) that was appended since"),
    ],
)
def test_an_index_says_what_it_lacks(tmp_path: Path, before: int, words: str) -> None:
    bank = appended(tmp_path, before, 12)
    message = (
        rf"^bank {bank.path}: its index at scale 8:4 {words}; run `build-index {bank.path} --overwrite`$"
    )
    for ask in (check_index, open_retriever):
        with pytest.raises(UserError, match=message):
            ask(bank, WIDE)
    for wanted in (request(), request("IVF8,Flat")):
        with pytest.raises(UserError, match=message):
            finished(bank, WIDE, wanted)
    [entry] = describe(bank.path)
    assert (entry["lacks_rows"], entry["rows"]) == (bank.rows(WIDE) - before * 121, before * 121)


def test_an_index_without_its_manifest_is_built_for_the_appended_bank(tmp_path: Path) -> None:
    """Its parts cover the same bank shards as before, but were centred by another mean."""
    bank = appended(tmp_path, 9, 12)
    (bank.path / "index" / WIDE.name / "manifest.json").unlink()
    assert describe(bank.path) == []
    old = (bank.path / "index" / WIDE.name / "part-00000.index").read_bytes()
    manifest = index_bank(bank, WIDE, request(shards=2))
    assert manifest.trained.source == Source.of(bank, WIDE)
    assert (bank.path / manifest.parts[0].file.path).read_bytes() != old
    assert describe(bank.path) == [{**manifest.summary(), "lacks_rows": 0}]


def test_an_index_of_another_bank_lacks_every_row(tmp_path: Path) -> None:
    one, other = (make_bank(tmp_path / str(seed), photos=4, seed=seed) for seed in (0, 50))
    index_bank(one, NARROW, request())
    shutil.copytree(one.path / "index", other.path / "index")
    assert [entry["lacks_rows"] for entry in describe(other.path)] == [other.rows(NARROW)]


def test_only_shards_at_the_end_count_as_appended(tmp_path: Path) -> None:
    had = Source(size=8, stride=4, rows=20, mean_sha256="m", bank_shards=("a", "b"))
    for shards, grew in [("abc", True), ("abcd", True), ("ab", False), ("a", False), ("acb", False)]:
        now = had.model_copy(update={"bank_shards": tuple(shards), "mean_sha256": "n"})
        assert had.grew_into(now) is grew
    assert not had.grew_into(had.model_copy(update={"bank_shards": ("a", "b", "c"), "stride": 2}))
