"""Requests answered in one pass: to the bit what each gets alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from art2real.data.bank import MemoryBank
from art2real.index.build import add_shard, discard
from art2real.index.joined import JoinedSearch
from art2real.index.learn import train
from art2real.index.shard import IndexShard
from tests.index import banks
from tests.index.banks import WIDE

FACTORIES = [
    "PCA64,IVF16,SQfp16",
    "IVF16,SQ8",
    "IVF16,Flat",
    "PCA32,IVF16,PQ4x4",
    "IVF16,RaBitQ4",
    "PCA32,IVF16,PQ8x4fs",
    "PCA32,SQ8",
    "Flat",
]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> MemoryBank:
    return banks.make_bank(tmp_path_factory.mktemp("bank"))


@pytest.fixture(scope="module", params=FACTORIES)
def shards(bank: MemoryBank, request: pytest.FixtureRequest) -> list[IndexShard]:
    """Two shards of an index of the type, searched with a part of the probes by one thread."""
    discard(bank, WIDE)
    trained = train(bank, WIDE, banks.request(request.param))
    parts = [add_shard(bank, WIDE, trained, number, half) for number, half in enumerate([(0, 1), (2, 3)])]
    return [IndexShard.load(bank.path / part.file.path, nprobe=5, threads=1) for part in parts]


def unit_queries(count: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(count, WIDE.dimension)).astype(np.float32)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)


@settings(max_examples=5, deadline=None)
@given(
    counts=st.lists(st.integers(0, 150), min_size=1, max_size=5),
    k=st.sampled_from([1, 20, 2000]),
    seed=st.integers(0, 99),
)
def test_joined_requests_are_answered_as_alone(shards: Any, counts: list[int], k: int, seed: int) -> None:
    requests = [unit_queries(count, seed + number) for number, count in enumerate(counts)]
    together = JoinedSearch(shards).search(requests, k)
    for queries, answers in zip(requests, together, strict=True):
        for shard, (scores, rows) in zip(shards, answers, strict=True):
            alone = shard.search(queries, k)
            np.testing.assert_array_equal(scores, alone[0])
            np.testing.assert_array_equal(rows, alone[1])
            assert (scores.dtype, rows.dtype) == (np.float32, np.int64)


def test_several_threads_answer_as_alone_too(shards: list[IndexShard]) -> None:
    several = [IndexShard(shard.index, shard.numbers, threads=2) for shard in shards]
    requests = [unit_queries(count, count) for count in (3, 70)]
    for queries, answers in zip(requests, JoinedSearch(several).search(requests, 4), strict=True):
        for shard, found in zip(several, answers, strict=True):
            np.testing.assert_array_equal(found[1], shard.search(queries, 4)[1])


def test_no_shards_find_nothing() -> None:
    assert JoinedSearch([]).search([unit_queries(3, 0)], 2) == [[]]
