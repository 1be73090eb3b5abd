"""The recall audit: queries whose own photo counts as not in the bank."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.manifest import BankSettings
from art2real.index.audit import recall, tune
from art2real.index.build import add_shard, discard, plan
from art2real.index.exact import ExactRetriever
from art2real.index.held_out import HeldOutShards, ShardFiles, search_without
from art2real.index.learn import train
from art2real.index.queries import held_out_queries, make_queries, photo_rows
from art2real.index.retriever import BankRetriever, unit_rows
from art2real.index.shard import IndexShard
from tests.index.banks import NARROW, WIDE, index_bank, make_bank, make_half_plain_bank, request
from tests.pictures import write_photos


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> MemoryBank:
    return make_bank(tmp_path_factory.mktemp("bank"))


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> MemoryBank:
    """Photos of one and of six tiles, in shards of few tiles."""
    folder = tmp_path_factory.mktemp("tiles")
    write_photos(folder / "photos", 2, height=32, width=32)
    for path in write_photos(folder / "wide", 2, height=64, width=96, seed=9):
        path.rename(folder / "photos" / f"wide-{path.name}")
    settings = BankSettings(image_size=32, scales=(WIDE,), fit="tile", resize=False, photos_per_shard=1)
    build_bank(folder / "photos", folder / "bank", settings)
    return MemoryBank.open(folder / "bank")


def files(bank: MemoryBank, scale: Scale, factory: str, shards: int = 1) -> list[Path]:
    discard(bank, scale)
    manifest = index_bank(bank, scale, request(factory, shards=shards))
    return [bank.path / part.file.path for part in manifest.parts]


def test_queries_are_soft_places_of_photos(bank: MemoryBank) -> None:
    queries, own = held_out_queries(bank, WIDE, 100, seed=0)
    np.testing.assert_array_equal(queries, make_queries(bank, WIDE, 100, seed=0))
    assert not np.array_equal(queries, make_queries(bank, WIDE, 100, seed=1))
    assert queries.shape == (100, 192)
    assert queries.dtype == np.float32
    assert queries.min() >= -1
    assert queries.max() <= 1
    # They come from the photo whose rows they leave out: without that, most would find it.
    rows = ExactRetriever(bank, WIDE).search(queries, 1)[1][:, 0]
    assert ((rows >= own[:, 0]) & (rows < own[:, 1])).mean() > 0.7
    assert len(np.unique(own, axis=0)) == 12


def test_held_out_queries_are_not_near_to_the_bank(bank: MemoryBank) -> None:
    queries, own = held_out_queries(bank, WIDE, 100, seed=0)
    exact = ExactRetriever(bank, WIDE)
    with_own, without = exact.search(queries, 1)[0], exact.search(queries, 1, without=own)[0]
    assert with_own.mean() - without.mean() > 0.02
    assert 0.3 < without.mean() < 0.99


def test_fewer_queries_than_photos(bank: MemoryBank) -> None:
    assert held_out_queries(bank, WIDE, 5, seed=0).patches.shape == (5, 192)


def test_a_photos_rows_are_those_of_all_its_tiles(tiles: MemoryBank) -> None:
    located = tiles.locate(WIDE, np.arange(tiles.rows(WIDE)))[0]
    sha256 = np.array([record.sha256 for record in tiles.photos])
    assert len(sha256) == 14
    for square in range(14):
        expected = np.flatnonzero(sha256[located] == sha256[square])
        assert photo_rows(tiles, WIDE, square) == range(expected[0], expected[-1] + 1)
        assert len(expected) in (49, 6 * 49)


@pytest.mark.parametrize("least_norm", [0, 3])
def test_exact_search_leaves_ranges_out(bank: MemoryBank, least_norm: float) -> None:
    queries, own = held_out_queries(bank, NARROW, 30, seed=1)
    scores, rows = ExactRetriever(bank, NARROW, least_norm).search(queries, 4, without=own)
    mean = bank.mean(NARROW)
    vectors = np.concatenate(list(bank.blocks(NARROW)))
    cosine = unit_rows(queries, mean) @ unit_rows(vectors, mean).T
    cosine[:, np.linalg.norm(vectors - mean, axis=1) < least_norm] = -np.inf
    for query, (first, end) in enumerate(own):
        cosine[query, first:end] = -np.inf
    np.testing.assert_array_equal(rows, np.argsort(-cosine, axis=1, kind="stable")[:, :4])
    np.testing.assert_allclose(scores, np.take_along_axis(cosine, rows, 1), atol=1e-5)


def test_exact_search_may_leave_everything_out(bank: MemoryBank) -> None:
    queries = make_queries(bank, NARROW, 3, seed=1)
    total = bank.rows(NARROW)
    own = np.array([[0, total], [0, total - 1], [5, 5]])
    scores, rows = ExactRetriever(bank, NARROW).search(queries, 2, without=own)
    assert rows[0].tolist() == [-1, -1]
    assert rows[1].tolist() == [total - 1, -1]
    assert (rows[2] >= 0).all()
    assert np.isneginf(scores[rows < 0]).all()


EXACT_ORDER = ["Flat", "PCA64,IVF8,SQfp16", "IVF8,SQ8", "PQ16x4"]
OTHER = ["HNSW16", "PQ16x4fs", "IVF8,PQ16x4fs", "IVF8,Flat,RFlat"]  # how deep one looks changes the answer


@pytest.mark.parametrize("factory", [*EXACT_ORDER, *OTHER])
@pytest.mark.parametrize("shards", [1, 3])
def test_search_leaves_ranges_out_of_every_type(
    tmp_path_factory: pytest.TempPathFactory, factory: str, shards: int
) -> None:
    """Also where positions are not rows, because near-constant rows are not held."""
    bank = make_half_plain_bank(tmp_path_factory.mktemp("plain"))
    queries, own = held_out_queries(bank, WIDE, 40, seed=2)
    unit_queries = unit_rows(queries, bank.mean(WIDE))
    for path in files(bank, WIDE, factory, shards):
        shard = IndexShard.load(path, 8, threads=1)
        _, rows = search_without(shard, unit_queries, 10, own)
        assert not ((rows >= own[:, :1]) & (rows < own[:, 1:])).any()
        if factory in EXACT_ORDER:
            everything = shard.search(unit_queries, shard.index.ntotal)[1]
            for query, (first, end) in enumerate(own):
                wanted = everything[query][(everything[query] < first) | (everything[query] >= end)]
                wanted = wanted[wanted >= 0][:10]
                assert (rows[query][: len(wanted)] == wanted).mean() >= 0.8  # coarse codes have ties


def test_search_may_leave_everything_out(bank: MemoryBank) -> None:
    total = bank.rows(WIDE)
    queries = unit_rows(make_queries(bank, WIDE, 3, seed=2), bank.mean(WIDE))
    own = np.array([[0, total], [0, total - 1], [0, 0]])
    for factory in ("Flat", "PQ16x4"):
        shard = IndexShard.load(files(bank, WIDE, factory)[0], 1, threads=1)
        scores, rows = search_without(shard, queries, 2, own)
        assert rows[0].tolist() == [-1, -1]
        assert rows[1].tolist() == [total - 1, -1]
        assert (rows[2] >= 0).all()
        assert np.isneginf(scores[rows < 0]).all()


def test_several_shards_answer_as_one_with_one_in_memory(bank: MemoryBank) -> None:
    queries, own = held_out_queries(bank, NARROW, 40, seed=2)
    answers = []
    for shards in (1, 2, 4):
        discard(bank, NARROW)
        manifest = index_bank(bank, NARROW, request("IVF16,SQfp16", shards=shards))
        paths = [bank.path / part.file.path for part in manifest.parts]
        read = ShardFiles(paths)
        read.nprobe = 4
        retriever = BankRetriever(bank, NARROW, HeldOutShards(read, own), manifest.trained)
        answers.append(retriever.search(queries, 5)[1])
    for other in answers[1:]:
        np.testing.assert_array_equal(answers[0], other)
    assert read.seconds_reading > 0


def test_a_flat_index_has_perfect_recall(bank: MemoryBank) -> None:
    discard(bank, WIDE)
    audit = index_bank(bank, WIDE, request("Flat", shards=2)).audit
    assert (audit.recall_at_1, audit.recall_at_5, audit.nprobe) == (1, 1, 1)
    assert audit.queries == 1000
    assert audit.queries_per_second > 0


def test_seed_decides_the_audit(bank: MemoryBank) -> None:
    audits = []
    for seed in (0, 0, 1):
        discard(bank, NARROW)
        audit = index_bank(bank, NARROW, request("IVF4,PQ4x4fs", seed=seed)).audit
        audits.append(audit.model_copy(update={"queries_per_second": 0}))
    assert audits[0] == audits[1]
    assert audits[0] != audits[2]


def test_recall_counts_rows_that_are_as_near(bank: MemoryBank) -> None:
    queries = make_queries(bank, WIDE, 40, seed=0)
    scores, rows = ExactRetriever(bank, WIDE).search(queries, 5)
    assert recall(bank, WIDE, queries, rows, scores) == (1, 1)
    worse = rows.copy()
    worse[::2, 0] = -1  # misses the first of every second query
    assert recall(bank, WIDE, queries, worse, scores) == (0.5, pytest.approx(0.9))


def test_recall_is_of_queries_that_have_an_answer(bank: MemoryBank) -> None:
    queries = make_queries(bank, WIDE, 4, seed=0)
    scores, rows = ExactRetriever(bank, WIDE).search(queries, 5)
    scores[0], rows[0] = -np.inf, -1
    scores[1, 2:], rows[1, 2:] = -np.inf, -1
    assert recall(bank, WIDE, queries, rows, scores) == (1, 1)
    rows[2] = -1
    assert recall(bank, WIDE, queries, rows, scores) == (pytest.approx(2 / 3), pytest.approx(7 / 12))
    nothing = np.full_like(scores, -np.inf)
    assert recall(bank, WIDE, queries, np.full_like(rows, -1), nothing) == (1, 1)


def test_a_bank_of_one_photo_has_nothing_to_miss(tmp_path: Path) -> None:
    lonely = make_bank(tmp_path, photos=1, per_shard=1)
    assert index_bank(lonely, WIDE, request("IVF4,SQ8")).audit.recall_at_1 == 1


def test_probes_are_raised_until_the_recall_is_reached(bank: MemoryBank) -> None:
    audits = {}
    for wanted in (0.1, 0.99):
        discard(bank, NARROW)
        trained = train(bank, NARROW, request("IVF64,SQfp16", min_recall=wanted))
        part = add_shard(bank, NARROW, trained, 0, plan(bank, 1)[0])
        audits[wanted] = tune(bank, NARROW, [bank.path / part.file.path], trained, 1)
    chosen, first = audits[0.1]
    assert chosen.nprobe == first.nprobe == 1
    assert chosen.reached
    chosen, first = audits[0.99]
    assert (first.nprobe, first.recall_at_1) == (1, audits[0.1][0].recall_at_1)
    assert chosen.nprobe > 1
    assert chosen.recall_at_1 > first.recall_at_1
    assert chosen.reached
