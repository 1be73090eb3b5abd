"""An index whose bank is appended to."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from art2real.data.bank import MemoryBank
from art2real.errors import UserError
from art2real.index.build import finished, is_current, kept_parts, plan
from art2real.index.manifest import Source, check_index, describe, index_folder, read_manifest
from art2real.index.order import order
from art2real.index.retriever import open_retriever, unit_rows
from tests.index.banks import NARROW, WIDE, append_photos, index_bank, make_bank, request

PLENTY = 2**40


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An indexed bank of six photos in two shards."""
    folder = tmp_path_factory.mktemp("bank")
    bank = make_bank(folder, photos=6, per_shard=3)
    index_bank(bank, WIDE, request("IVF8,SQfp16", shards=2))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("photos", "words"),
    [
        (6, r"lacks 2 shards \(726 rows\) that were appended since"),
        (3, r"lacks 1 shard \(363 rows\) that was appended since"),
    ],
)
def test_an_index_says_what_it_lacks(folder: Path, photos: int, words: str) -> None:
    bank = append_photos(folder, photos, seed=50)
    message = rf"^bank {bank.path}: its index at scale 8:4 {words}; run `build-index {bank.path}`$"
    for ask in (check_index, open_retriever):
        with pytest.raises(UserError, match=message):
            ask(bank, WIDE)
    assert finished(bank, WIDE, request("IVF8,SQfp16", shards=2)) is None
    with pytest.raises(UserError, match=r"another index at scale 8:4 \(factory IVF8,SQfp16, not Flat\)"):
        finished(bank, WIDE, request("Flat", shards=2))
    [entry] = describe(bank.path)
    assert (entry["lacks_rows"], entry["rows"]) == (photos * 121, 6 * 121)


def test_appended_rows_are_added_and_all_else_stays(folder: Path) -> None:
    wanted = request("IVF8,SQfp16", shards=2)
    index = index_folder(folder / "bank", WIDE)
    before, manifest = state(index), read_manifest(folder / "bank", WIDE)
    assert manifest is not None
    bank = append_photos(folder, 6, seed=50)
    grown = index_bank(bank, WIDE, wanted)

    after = state(index)
    old = [name for name in before if name != "manifest.json"]
    assert {name: after[name] for name in old} == {name: before[name] for name in old}
    assert grown.trained == manifest.trained
    assert grown.parts[:2] == manifest.parts
    assert [part.bank_shards for part in grown.parts] == [(0,), (1,), (2,), (3,)]
    assert grown.covers == Source.of(bank, WIDE) != grown.trained.source
    [entry] = describe(bank.path)
    assert entry == {**grown.summary(), "lacks_rows": 0, "foreign": False}
    assert (entry["rows"], entry["rows_added"]) == (12 * 121, 6 * 121)
    assert finished(bank, WIDE, wanted) == grown
    assert not is_current(bank, WIDE, wanted)


def test_added_rows_are_found_by_their_number(folder: Path) -> None:
    bank = append_photos(folder, 6, seed=50)
    index_bank(bank, WIDE, request("IVF8,SQfp16", shards=2))
    retriever = open_retriever(bank, WIDE, threads=1)
    rows = np.arange(0, bank.rows(WIDE), 5)
    found = retriever.search(bank.vectors(WIDE, rows), 1)[1][:, 0]
    assert (found == rows).mean() > 0.95
    sizes = retriever.cells()[1]
    assert sizes.sum() == bank.rows(WIDE)
    drawn = retriever.draw(np.flatnonzero(sizes).repeat(100), np.random.default_rng(0))
    assert drawn.max() >= 6 * 121


def test_added_rows_are_centred_by_the_mean_of_the_others(folder: Path) -> None:
    """By another mean they would lie in another space than the lists and the shards that are there."""
    old_mean = MemoryBank.open(folder / "bank").mean(WIDE)
    bank = append_photos(folder, 3, seed=50)
    manifest = index_bank(bank, WIDE, request("IVF8,SQfp16", shards=2))
    np.testing.assert_array_equal(manifest.trained.centre, old_mean)
    assert not np.array_equal(old_mean, bank.mean(WIDE))
    shard = open_retriever(bank, WIDE, threads=1).shards.shards[-1]
    shard.index.make_direct_map()
    expected = unit_rows(bank.vectors(WIDE, np.array([6 * 121])), old_mean)[0]
    np.testing.assert_allclose(shard.index.reconstruct(0), expected, atol=1e-3)


def test_rows_can_be_added_again_and_again(folder: Path) -> None:
    wanted = request("IVF8,SQfp16", shards=2)
    for turn in range(2):
        bank = append_photos(folder, 3, seed=50 + turn * 10)
        manifest = index_bank(bank, WIDE, wanted)
    assert [part.first_row for part in manifest.parts] == [0, 363, 726, 1089]
    assert describe(bank.path)[0]["lacks_rows"] == 0
    first = read_manifest(folder / "bank", WIDE)
    assert first is not None
    assert first.first_audit.nprobe <= first.audit.nprobe


def test_an_addition_that_was_interrupted_goes_on(folder: Path) -> None:
    wanted = request("IVF8,SQfp16", shards=2)
    index = index_folder(folder / "bank", WIDE)
    old_manifest = (index / "manifest.json").read_bytes()
    bank = append_photos(folder, 6, seed=50)
    grown = index_bank(bank, WIDE, wanted)
    (index / "manifest.json").write_bytes(old_manifest)  # two shards were written, no audit was made
    written = state(index)["part-00003.index"]
    again = index_bank(bank, WIDE, wanted)
    assert again.parts == grown.parts
    assert state(index)["part-00003.index"] == written


def test_shards_of_other_photos_are_not_taken_for_those_appended(tmp_path: Path) -> None:
    """An addition to the index was interrupted, and then the bank was built with other photos at its end."""
    for name, seed in (("one", 50), ("other", 80)):
        make_bank(tmp_path / name, photos=6, per_shard=3)
        bank = append_photos(tmp_path / name, 3, seed=seed)
    wanted = request("IVF8,SQfp16", shards=2)
    kept = tmp_path / "kept"
    make_bank(kept, photos=6, per_shard=3)
    index_bank(MemoryBank.open(kept / "bank"), WIDE, wanted)
    index = index_folder(kept / "bank", WIDE)
    shutil.copytree(index, index_folder(tmp_path / "one/bank", WIDE))
    index_bank(MemoryBank.open(tmp_path / "one/bank"), WIDE, wanted)
    shutil.copytree(index_folder(tmp_path / "one/bank", WIDE), index_folder(bank.path, WIDE))
    shutil.copy(index / "manifest.json", index_folder(bank.path, WIDE))
    manifest = index_bank(bank, WIDE, wanted)
    rows = np.arange(6 * 121, bank.rows(WIDE))
    found = open_retriever(bank, WIDE, threads=1).search(bank.vectors(WIDE, rows), 1)[1][:, 0]
    assert (found == rows).mean() > 0.95
    assert len(manifest.parts) == 3


def test_shards_to_be_added_are_as_large_as_those_there(folder: Path) -> None:
    bank = append_photos(folder, 12, seed=50)
    kept = kept_parts(bank, WIDE)
    assert plan(bank, 2, kept) == [(2,), (3,), (4,), (5,)]
    whole = kept[0].model_copy(update={"bank_shards": (0, 1)})
    assert plan(bank, 1, [whole]) == [(2, 3), (4, 5)]
    large = kept[0].model_copy(update={"bank_shards": (0, 1, 2, 3, 4)})
    assert plan(bank, 1, [large]) == [(5,)]


def test_photos_of_another_kind_are_said_to_drift(tmp_path: Path) -> None:
    bank = make_bank(tmp_path, photos=6, per_shard=3)
    wanted = request("PCA64,IVF64,SQ8", min_recall=0.8)
    first = index_bank(bank, WIDE, wanted)
    assert not first.drifted
    assert (first.drift, first.first_audit) == (0, first.audit)
    alike = index_bank(append_photos(tmp_path, 6, seed=0), WIDE, wanted)  # the same photos are copies
    assert not alike.drifted
    manifest = index_bank(append_photos(tmp_path, 12, seed=50, dark=True), WIDE, wanted)
    assert manifest.drift > 0.01
    assert manifest.drifted
    assert manifest.summary()["drifted"] is True
    assert manifest.first_audit == first.audit


def test_overwriting_trains_anew(folder: Path) -> None:
    bank = append_photos(folder, 3, seed=50)
    given = {"factory": "IVF8,SQfp16", "shards": 2, "min_recall": 0.5}
    [grown, narrow] = order(bank, node=PLENTY, **given).missing
    assert (grown.replaces, len(grown.kept), grown.shards) == (False, 2, [(2,)])
    assert (narrow.scale, narrow.kept) == (NARROW, ())
    anew = order(bank, node=PLENTY, overwrite=True, **given).missing[0]
    assert (anew.replaces, anew.kept, anew.shards) == (True, (), [(0, 1), (2,)])


def test_options_left_out_are_as_the_index_has_them(folder: Path) -> None:
    bank = append_photos(folder, 3, seed=50)
    [grown, narrow] = order(bank, node=PLENTY).missing
    assert grown.request == request("IVF8,SQfp16", shards=2)
    assert (narrow.request.factory, narrow.request.shards) == ("auto", 1)
    with pytest.raises(UserError, match=r"another index at scale 8:4 \(shards 2, not 3\)"):
        order(bank, node=PLENTY, shards=3)


def test_an_index_of_another_bank_lacks_every_row(tmp_path: Path) -> None:
    one, other = (make_bank(tmp_path / str(seed), photos=4, seed=seed) for seed in (0, 50))
    index_bank(one, NARROW, request())
    shutil.copytree(one.path / "index", other.path / "index")
    assert [entry["lacks_rows"] for entry in describe(other.path)] == [other.rows(NARROW)]


def test_only_shards_at_the_end_count_as_appended() -> None:
    had = Source(size=8, stride=4, rows=20, mean_sha256="m", bank_shards=("a", "b"))
    for shards, grew in [("abc", True), ("abcd", True), ("ab", False), ("a", False), ("acb", False)]:
        now = had.model_copy(update={"bank_shards": tuple(shards), "mean_sha256": "n"})
        assert had.grew_into(now) is grew
    assert not had.grew_into(had.model_copy(update={"bank_shards": ("a", "b", "c"), "stride": 2}))


def test_a_fall_that_may_be_chance_is_no_drift(tmp_path: Path) -> None:
    bank = make_bank(tmp_path, photos=6, per_shard=3)
    manifest = index_bank(bank, NARROW, request(factory="IVF8,Flat"))
    audit = manifest.audit.model_copy(update={"recall_at_1": 0.95, "reached": True})

    def drifted(drift: float, queries: int, added: bool = True) -> bool:
        asked = audit.model_copy(update={"queries": queries})
        covers = manifest.covers.model_copy(update={"rows": manifest.covers.rows + added})
        update = {"first_audit": asked, "audit": asked, "drift": drift, "covers": covers}
        return manifest.model_copy(update=update).drifted

    # Two standard errors of the difference: 0.044 of 200 queries, 0.006 of 10,000.
    assert [drifted(0.03, 200), drifted(0.05, 200)] == [False, True]
    assert [drifted(0.008, 10_000), drifted(0.015, 10_000)] == [False, True]
    assert not drifted(0.05, 200, added=False)
