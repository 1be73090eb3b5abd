from __future__ import annotations

import pytest

from art2real.errors import UsageError
from art2real.index.factory import choose, list_count, parse, resolve


@pytest.mark.parametrize(
    ("dimension", "rows", "factory", "metric", "rerank"),
    [
        (768, 9_999, "Flat", "inner_product", 0),
        (768, 1_000_000, "PCA64,IVF4096,SQfp16", "l2", 20),
        (192, 2_000_000, "PCA64,IVF4096,SQfp16", "l2", 20),
        (48, 3_000_000, "IVF8192,SQfp16", "inner_product", 0),
    ],
)
def test_choice_follows_dimension_and_rows(
    dimension: int, rows: int, factory: str, metric: str, rerank: int
) -> None:
    spec = choose(dimension, rows)
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
    assert spec.nprobe == (16 if "IVF" in text else 1)


def test_id_maps_are_left_out() -> None:
    assert parse("IDMap, Flat", 48).factory == "Flat"
    assert parse("IVF4,Flat", 48).nprobe == 4


@pytest.mark.parametrize("text", ["Flatt", "", "IVF16,PQ7", "PCA64,", "auto,Flat"])
def test_unknown_types_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"^FAISS has no index .*48 values.*such as Flat") as refused:
        resolve(text, 48, 1000)
    assert "\n" not in str(refused.value)
    assert "index_factory.cpp" not in str(refused.value)
