"""Files, banks and queries that are not as they should be: a clear error, or a defined answer."""

from __future__ import annotations

import shutil
from pathlib import Path

import faiss
import numpy as np
import pytest

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.errors import UserError
from art2real.index.build import discard, finished
from art2real.index.exact import ExactRetriever
from art2real.index.left_out import RowNumbers
from art2real.index.manifest import MANIFEST, index_folder
from art2real.index.queries import make_queries
from art2real.index.retriever import BankRetriever, merge, open_retriever
from art2real.index.shard import IndexShard, LocalShards
from tests.index.banks import WIDE, append_photos, index_bank, make_bank, make_half_plain_bank, request

IVF = "PCA64,IVF8,SQfp16"


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bank")
    index_bank(make_bank(folder), WIDE, request(IVF, shards=2))
    return folder


@pytest.fixture
def bank(indexed: Path, tmp_path: Path) -> MemoryBank:
    """A copy that a test may spoil."""
    shutil.copytree(indexed / "bank", tmp_path / "bank")
    return MemoryBank.open(tmp_path / "bank")


def opened(bank: MemoryBank, scale: Scale, factory: str, shards: int = 1) -> BankRetriever:
    discard(bank, scale)
    index_bank(bank, scale, request(factory, shards=shards))
    return open_retriever(bank, scale, threads=1)


@pytest.mark.parametrize("name", ["part-00000.index", "trained.index"])
@pytest.mark.parametrize("left", [0, 50, -100])
def test_truncated_files_are_refused(bank: MemoryBank, name: str, left: int) -> None:
    path = index_folder(bank.path, WIDE) / name
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(UserError, match=rf"{name} has \d+ bytes instead of \d+: it is truncated") as refused:
        open_retriever(bank, WIDE).cells()
    assert "\n" not in str(refused.value)


def test_damaged_and_missing_files_are_refused(bank: MemoryBank) -> None:
    path = index_folder(bank.path, WIDE) / "part-00001.index"
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(UserError, match=r"part-00001\.index cannot be read"):
        open_retriever(bank, WIDE)
    path.unlink()
    with pytest.raises(UserError, match=r"part-00001\.index is missing"):
        open_retriever(bank, WIDE)
    (path.parent / MANIFEST).write_text("{}")
    with pytest.raises(UserError, match=r"manifest\.json is damaged or of another version"):
        open_retriever(bank, WIDE)


def test_a_changed_bit_of_the_codes_is_refused(bank: MemoryBank) -> None:
    """FAISS would load it without a word."""
    path = index_folder(bank.path, WIDE) / "part-00001.index"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"part-00001\.index is damaged: its content is not what was written"):
        open_retriever(bank, WIDE)


def test_an_index_of_another_bank_is_refused(bank: MemoryBank, tmp_path: Path) -> None:
    other = make_bank(tmp_path / "other", seed=50)
    shutil.copytree(bank.path / "index", other.path / "index")
    with pytest.raises(UserError, match="built with other settings, or from other photos, than its index"):
        open_retriever(other, WIDE)
    with pytest.raises(UserError, match="older state of the bank"):
        finished(other, WIDE, request(IVF, shards=2))


def test_an_index_of_an_older_state_is_refused(bank: MemoryBank, tmp_path: Path) -> None:
    newer = append_photos(tmp_path, 3, seed=50)
    with pytest.raises(UserError, match=r"lacks 1 shard .* run `build-index"):
        open_retriever(newer, WIDE)
    index_bank(newer, WIDE, request(IVF, shards=2))
    open_retriever(newer, WIDE)
    # And the other way round: the bank as it was, with the index of what it became.
    with pytest.raises(UserError, match="built with other settings, or from other photos, than its index"):
        open_retriever(bank, WIDE)


@pytest.mark.parametrize("factory", ["Flat", IVF, "IVF8,SQ8"])
def test_more_neighbours_than_rows(tmp_path: Path, factory: str) -> None:
    small = make_bank(tmp_path, photos=4)
    retriever = opened(small, WIDE, factory, shards=4)
    total = small.rows(WIDE)
    scores, rows = retriever.search(make_queries(small, WIDE, 3, seed=0), total + 10)
    found = [set(row[row >= 0].tolist()) for row in rows]
    assert found == [set(range(total))] * 3
    assert (rows[:, total:] == -1).all()
    assert np.isneginf(scores[:, total:]).all()
    assert np.isfinite(scores[:, :total]).all()
    exact_scores, exact_rows = ExactRetriever(small, WIDE).search(make_queries(small, WIDE, 1, seed=0), 999)
    assert sorted(exact_rows[0, :total]) == list(range(total))
    assert (exact_rows[0, total:] == -1).all()
    assert np.isneginf(exact_scores[0, total:]).all()


@pytest.mark.parametrize("factory", ["Flat", IVF, "IVF8,SQ8"])
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_broken_queries_have_no_rows_and_leave_others_alone(
    bank: MemoryBank, factory: str, broken: float
) -> None:
    retriever = opened(bank, WIDE, factory)
    queries = make_queries(bank, WIDE, 4, seed=5)
    expected = retriever.search(queries, 3)
    spoilt = queries.copy()
    spoilt[1, 7] = broken
    scores, rows = retriever.search(spoilt, 3)
    assert (rows[1] == -1).all()
    assert np.isneginf(scores[1]).all()
    np.testing.assert_array_equal(rows[[0, 2, 3]], expected[1][[0, 2, 3]])
    exact_rows = ExactRetriever(bank, WIDE).search(spoilt, 3)[1]
    assert (exact_rows[1] == -1).all()


@pytest.mark.parametrize("factory", ["Flat", IVF])
def test_a_query_equal_to_the_mean_scores_zero(bank: MemoryBank, factory: str) -> None:
    scores, rows = opened(bank, WIDE, factory).search(bank.mean(WIDE)[None], 3)
    assert (rows >= 0).all()
    np.testing.assert_array_equal(scores, 0)


@pytest.mark.parametrize("factory", ["Flat", IVF, "IVF8,SQ8"])
def test_rows_of_zero_norm_are_never_near(tmp_path: Path, factory: str) -> None:
    """With --min-contrast 0 the index holds them; they have the cosine 0 with everything."""
    bank = make_half_plain_bank(tmp_path)
    index_bank(bank, WIDE, request(factory, min_contrast=0))
    retriever = open_retriever(bank, WIDE, threads=1)
    total = bank.rows(WIDE)
    scores, rows = retriever.search(make_queries(bank, WIDE, 4, seed=0), total)
    plain = np.flatnonzero(bank.locate(WIDE, np.arange(total))[2] >= 24)
    assert np.isin(plain, rows).all()
    assert np.isfinite(scores[rows >= 0]).all()
    np.testing.assert_allclose(scores[np.isin(rows, plain)], 0, atol=1e-2)


@pytest.mark.parametrize("factory", ["Flat", IVF])
def test_wrong_queries_are_refused(bank: MemoryBank, factory: str) -> None:
    retriever = opened(bank, WIDE, factory)
    with pytest.raises(ValueError, match=r"\[N, 192\] at scale 8:4, got \[2, 48\]"):
        retriever.search(np.zeros((2, 48), np.float32), 1)
    with pytest.raises(ValueError, match=r"\[N, 192\] at scale 8:4, got \[192\]"):
        retriever.search(np.zeros(192, np.float32), 1)
    with pytest.raises(ValueError, match="k must be at least 1"):
        retriever.search(np.zeros((2, 192), np.float32), 0)
    scores, rows = retriever.search(np.zeros((0, 192), np.float32), 2)
    assert scores.shape == rows.shape == (0, 2)


def test_an_empty_shard_finds_nothing() -> None:
    filled = faiss.IndexFlatIP(8)
    filled.add(np.eye(8, dtype=np.float32))
    shards = LocalShards([IndexShard(faiss.IndexFlatIP(8), RowNumbers(0)), IndexShard(filled, RowNumbers(0))])
    scores, rows = merge(shards.search(np.eye(8, dtype=np.float32)[:2], 2), 1)
    assert rows.tolist() == [[0], [1]]
    assert scores.tolist() == [[1.0], [1.0]]
    assert [sizes.tolist() for sizes in shards.cell_sizes()] == [[0], [8]]
