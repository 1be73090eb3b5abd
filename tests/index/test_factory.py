from __future__ import annotations

import faiss
import numpy as np
import pytest

from art2real.core.scale import Scale
from art2real.errors import UsageError
from art2real.index.factory import bytes_per_row, candidates, list_count, parse, resolve
from art2real.index.gpu import gpu_storage


@pytest.mark.parametrize(
    ("dimension", "rows", "factory", "metric", "rerank"),
    [
        (768, 9_999, "Flat", "inner_product", 0),
        (768, 1_000_000, "PCA56,IVF4096,SQfp16", "l2", 20),
        (192, 2_000_000, "PCA56,IVF4096,SQfp16", "l2", 20),
        (48, 3_000_000, "IVF8192,SQfp16", "inner_product", 0),
    ],
)
def test_choice_follows_dimension_and_rows(
    dimension: int, rows: int, factory: str, metric: str, rerank: int
) -> None:
    spec = resolve("auto", dimension, rows)
    assert (spec.factory, spec.metric, spec.rerank) == (factory, metric, rerank)


@pytest.mark.parametrize("rows", [1, 38, 39, 78, 10_000, 123_456, 10**7])
def test_lists_are_a_power_of_two_that_the_rows_can_train(rows: int) -> None:
    lists = list_count(rows)
    assert lists & (lists - 1) == 0
    assert lists == 1 or lists * 39 <= rows
    assert lists <= 4 * rows**0.5 * 2**0.5


@pytest.mark.parametrize(
    ("text", "metric", "rerank"),
    [
        ("Flat", "inner_product", 0),
        ("IVF16,Flat", "inner_product", 0),
        ("IVF16_HNSW32,SQfp16", "inner_product", 0),
        ("IVF16,SQ8", "l2", 20),
        ("PCA32,IVF16,Flat", "l2", 20),
        ("OPQ8_32,IVF16,PQ8", "l2", 20),
        ("HNSW16", "l2", 20),
    ],
)
def test_coarse_codes_use_l2_and_are_reranked(text: str, metric: str, rerank: int) -> None:
    spec = parse(text, 192)
    assert (spec.metric, spec.rerank) == (metric, rerank)
    assert spec.nprobe == (8 if "IVF" in text else 1)


def test_id_maps_are_left_out() -> None:
    assert parse("IDMap, Flat", 48).factory == "Flat"
    assert parse("IVF4,Flat", 48).nprobe == 4


@pytest.mark.parametrize("text", ["Flatt", "", "IVF16,PQ7", "PCA64,", "auto,Flat"])
def test_unknown_types_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"^FAISS has no index .*48 values.*such as Flat") as refused:
        resolve(text, 48, 1000)
    assert "\n" not in str(refused.value)
    assert "index_factory.cpp" not in str(refused.value)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 16, 32])
@pytest.mark.parametrize("rows", [500, 10_000, 5_000_000])
def test_candidates_shrink_and_all_go_onto_a_gpu(size: int, rows: int) -> None:
    dimension = Scale(size, 4).dimension
    indexes = [spec.new(dimension) for spec in candidates("auto", dimension, rows)]
    sizes = [bytes_per_row(index) for index in indexes]
    assert sizes == sorted(set(sizes), reverse=True)
    assert len(sizes) == (1 if rows == 500 else 3)
    assert None not in [gpu_storage(index) for index in indexes]


def test_a_factory_string_allows_one_type() -> None:
    assert [spec.factory for spec in candidates("IVF64,SQ8", 48, 10**6)] == ["IVF64,SQ8"]


@pytest.mark.parametrize(
    "factory",
    ["Flat", "SQ8", "IVF4,SQfp16", "PCA32,IVF4,SQ8", "PCA32,IVF4,PQ8", "IVF4,SQ8,RFlat", "HNSW16"],
)
def test_bytes_a_row_are_those_of_the_file(factory: str) -> None:
    index = parse(factory, 48).new(48)
    rows = np.random.default_rng(0).normal(size=(4000, 48)).astype(np.float32)
    index.train(rows)
    index.add(rows[:1000])
    before = faiss.serialize_index(index).nbytes
    index.add(rows[1000:])
    added = (faiss.serialize_index(index).nbytes - before) / 3000
    assert bytes_per_row(index) == pytest.approx(added, rel=0.15 if factory == "HNSW16" else 0.001)


def test_scalar_codes_leave_the_extremes_out() -> None:
    """With one value a hundred times the others, codes over the whole range would hardly tell those apart."""
    rows = np.random.default_rng(0).normal(size=(4000, 48)).astype(np.float32)
    rows[0] *= 100
    for factory in ("SQ8", "IVF1,SQ8"):
        index = parse(factory, 48).new(48)
        index.train(rows)
        index.add(rows)
        decoded = index.sa_decode(index.sa_encode(rows[1:]))
        assert np.abs(decoded - rows[1:]).mean() < 0.02
