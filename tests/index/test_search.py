from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import torch

from art2real.core.affinity import unit
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.errors import UserError
from art2real.index.build import discard, plan
from art2real.index.exact import ExactRetriever
from art2real.index.manifest import read_manifest
from art2real.index.queries import make_queries
from art2real.index.retriever import BankRetriever, merge, open_retriever, unit_rows
from tests.index.banks import NARROW, WIDE, index_bank, make_bank, request


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> MemoryBank:
    return make_bank(tmp_path_factory.mktemp("bank"))


def opened(bank: MemoryBank, scale: Scale, factory: str, shards: int = 1) -> BankRetriever:
    discard(bank, scale)
    index_bank(bank, scale, request(factory, shards=shards))
    return open_retriever(bank, scale, threads=1)


def test_exact_search_is_the_sorted_cosine(bank: MemoryBank) -> None:
    queries = make_queries(bank, WIDE, 20, seed=1)
    scores, rows = ExactRetriever(bank, WIDE).search(queries, 7)
    everything = np.concatenate(list(bank.blocks(WIDE))).astype(np.float64)
    a, b = queries - bank.mean(WIDE), everything - bank.mean(WIDE)
    cosine = (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)
    order = np.argsort(-cosine, axis=1)[:, :7]
    np.testing.assert_array_equal(rows, order)
    np.testing.assert_allclose(scores, np.take_along_axis(cosine, order, 1), atol=1e-5)


def test_unit_rows_are_those_of_the_loss(bank: MemoryBank) -> None:
    patches = bank.vectors(WIDE, np.arange(5))
    expected = unit(torch.from_numpy(patches), torch.from_numpy(bank.mean(WIDE)))
    np.testing.assert_array_equal(unit_rows(patches, bank.mean(WIDE)), expected.numpy())


def test_flat_index_is_exact(bank: MemoryBank) -> None:
    queries = make_queries(bank, NARROW, 50, seed=2)
    scores, rows = opened(bank, NARROW, "auto", shards=3).search(queries, 4)
    exact_scores, exact_rows = ExactRetriever(bank, NARROW).search(queries, 4)
    np.testing.assert_array_equal(rows, exact_rows)
    np.testing.assert_allclose(scores, exact_scores, atol=1e-6)


@pytest.mark.parametrize("factory", ["PCA64,IVF8,SQfp16", "IVF8,SQ8", "PCA32,IVF8,PQ16x4", "PCA32,SQ8"])
def test_reranked_scores_are_exact(bank: MemoryBank, factory: str) -> None:
    queries = make_queries(bank, WIDE, 50, seed=3)
    scores, rows = opened(bank, WIDE, factory, shards=2).search(queries, 5)
    found = unit_rows(bank.vectors(WIDE, rows.ravel()), bank.mean(WIDE)).reshape(50, 5, -1)
    cosine = np.einsum("nkd,nd->nk", found, unit_rows(queries, bank.mean(WIDE)))
    np.testing.assert_allclose(scores, cosine, atol=1e-6)
    assert (np.diff(scores, axis=1) <= 0).all()
    best = ExactRetriever(bank, WIDE).search(queries, 1)[1]
    assert (rows[:, :1] == best).mean() >= 0.9


@pytest.mark.parametrize(
    ("scale", "factory"),
    [(WIDE, "PCA64,IVF16,SQfp16"), (WIDE, "IVF16,SQ8"), (NARROW, "IVF16,SQfp16"), (NARROW, "Flat")],
)
def test_shards_answer_as_one_index(bank: MemoryBank, scale: Scale, factory: str) -> None:
    queries = make_queries(bank, scale, 80, seed=4)
    cells = np.arange(1 if factory == "Flat" else 16).repeat(5)
    answers = []
    for shards in (1, 2, 4):
        retriever = opened(bank, scale, factory, shards)
        manifest = read_manifest(bank.path, scale)
        assert manifest is not None
        assert len(manifest.parts) == shards
        cells = cells[retriever.cells()[1][cells] > 0]
        drawn = retriever.draw(cells, np.random.default_rng(0))
        answers.append((*retriever.search(queries, 6), *retriever.cells(), drawn))
    for other in answers[1:]:
        for mine, theirs in zip(answers[0], other, strict=True):
            if mine.dtype == np.float32 and factory == "Flat":
                # A full scan is a matrix product, whose last bit depends on the number of rows.
                np.testing.assert_allclose(mine, theirs, atol=1e-6)
            else:
                np.testing.assert_array_equal(mine, theirs)


def test_merge_orders_ties_by_row_and_missing_last() -> None:
    lost = -math.inf
    left = (np.array([[0.9, 0.5, lost]], np.float32), np.array([[8, 9, -1]]))
    right = (np.array([[0.9, 0.5, 0.2]], np.float32), np.array([[3, 2, 4]]))
    scores, rows = merge([left, right], 6)
    assert rows.tolist() == [[3, 8, 2, 9, 4, -1]]
    assert scores[0].tolist() == pytest.approx([0.9, 0.9, 0.5, 0.5, 0.2, lost])


def test_draws_are_uniform_inside_their_cell(bank: MemoryBank) -> None:
    retriever = opened(bank, NARROW, "IVF8,SQfp16", shards=2)
    index: Any = faiss.read_index(str(bank.path / retriever.trained.file.path))
    rows_of_bank = unit_rows(bank.vectors(NARROW, np.arange(bank.rows(NARROW))), bank.mean(NARROW))
    _, assigned = index.quantizer.search(rows_of_bank, 1)
    sizes = retriever.cells()[1]
    np.testing.assert_array_equal(sizes, np.bincount(assigned[:, 0], minlength=8))
    cell = int(np.argmin(np.where(sizes > 0, sizes, sizes.max() + 1)))
    members = np.flatnonzero(assigned[:, 0] == cell)
    draws = retriever.draw(np.full(200 * len(members), cell), np.random.default_rng(0))
    found, count = np.unique(draws, return_counts=True)
    np.testing.assert_array_equal(found, members)
    # Chi-squared with len - 1 degrees of freedom, far outside of chance.
    assert ((count - 200) ** 2 / 200).sum() < len(members) + 6 * math.sqrt(2 * len(members))


def test_drawing_from_an_empty_cell_is_refused(tmp_path: Path) -> None:
    bank = make_bank(tmp_path, photos=4)
    retriever = opened(bank, NARROW, "IVF8,SQfp16")
    sizes = retriever.shards.cell_sizes()[0]
    retriever.__dict__["_sizes"] = np.where(np.arange(8) == 3, 0, sizes)[None]
    with pytest.raises(ValueError, match="cell 3 has no rows"):
        retriever.draw(np.array([0, 3]), np.random.default_rng(0))


@pytest.mark.parametrize(("scale", "factory"), [(WIDE, "PCA64,IVF8,SQfp16"), (NARROW, "IVF8,SQfp16")])
def test_directions_point_to_the_rows_of_their_cells(bank: MemoryBank, scale: Scale, factory: str) -> None:
    retriever = opened(bank, scale, factory)
    directions, sizes = retriever.cells()
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-5)
    for cell in np.flatnonzero(sizes > 20):
        drawn = retriever.draw(np.full(300, cell), np.random.default_rng(0))
        mean = unit_rows(bank.vectors(scale, drawn), bank.mean(scale)).mean(axis=0)
        assert mean @ directions[cell] / np.linalg.norm(mean) > 0.9


def test_cells_of_an_irreversible_transform_are_refused(bank: MemoryBank) -> None:
    retriever = opened(bank, WIDE, "PCAW32,IVF8,SQ8")
    assert (retriever.search(make_queries(bank, WIDE, 3, seed=0), 2)[1] >= 0).all()
    with pytest.raises(UserError, match="PCAW32,IVF8,SQ8 index have no direction"):
        retriever.cells()


def test_an_index_without_lists_is_one_cell(bank: MemoryBank) -> None:
    retriever = opened(bank, NARROW, "Flat", shards=4)
    directions, sizes = retriever.cells()
    assert directions.tolist() == [[0.0] * 48]
    assert sizes.tolist() == [bank.rows(NARROW)]
    drawn = retriever.draw(np.zeros(1000, np.int64), np.random.default_rng(0))
    owners = np.searchsorted([rows.stop for rows in bank.shard_rows(NARROW)], drawn, side="right")
    assert set(owners) == {0, 1, 2, 3}


def test_plan_covers_all_bank_shards_in_order(bank: MemoryBank) -> None:
    assert plan(bank, 3) == [(0, 1), (2,), (3,)]
    assert plan(bank, 99) == [(0,), (1,), (2,), (3,)]
