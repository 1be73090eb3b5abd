from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from art2real.errors import UsageError, UserError
from art2real.index.factory import candidates, parse
from art2real.index.sized import shape, sized_candidates
from art2real.plan.index_size import held_bytes, plan_indexes, verdicts
from tests.index.banks import NARROW, WIDE, index_bank, make_bank, request
from tests.plan.workloads import GB, workload


@pytest.mark.parametrize(
    ("factory", "shards"),
    [
        ("auto", 1),
        ("auto", 3),
        ("IVF64,SQfp16", 3),
        ("PCA32,IVF64,SQ8", 1),
        ("OPQ4_16,IVF16,PQ4", 3),
        ("Flat", 3),
    ],
)
def test_it_is_what_a_built_index_takes(tmp_path: Path, factory: str, shards: int) -> None:
    bank = make_bank(tmp_path, photos=96, per_shard=16)  # 11,616 patches: auto makes lists
    built = index_bank(bank, WIDE, request(factory, shards=shards, min_recall=0, min_contrast=0))
    work = workload(96, size=48, scales=(WIDE, NARROW), factory=factory, shards=shards, photos_per_shard=16)
    planned = plan_indexes(work)[0]
    assert planned.spec.factory == built.trained.factory
    assert planned.shards == shards == len(built.parts)
    index_files = [bank.path / each.file.path for each in built.parts] + [bank.path / built.trained.file.path]
    assert planned.bytes == pytest.approx(sum(path.stat().st_size for path in index_files), rel=0.02)
    largest = max(each.file.bytes for each in built.parts)
    assert planned.shard_bytes == pytest.approx(largest, rel=0.02)


@pytest.mark.parametrize("rows", [500, 20_000, 3_000_000])
@pytest.mark.parametrize("dimension", [768, 48])
def test_sizes_are_those_of_the_types_that_are_built(rows: int, dimension: int) -> None:
    mine, built = (each("auto", dimension, rows) for each in (sized_candidates, candidates))
    assert [each.factory for each in mine] == [each.factory for each in built]
    for one, other in zip(mine, built, strict=True):
        assert shape(one, dimension) == shape(other, dimension)
        assert (one.metric, one.nprobe, one.rerank) == (other.metric, other.nprobe, other.rerank)


def test_an_asked_type_is_taken_as_it_is() -> None:
    (spec,) = sized_candidates("PCA64,IVF1048576,SQ8", 768, 10**12)
    assert spec.factory == "PCA64,IVF1048576,SQ8"
    assert shape(spec, 768).lists == 1 << 20
    assert spec.nprobe == parse("PCA64,IVF1024,SQ8", 768).nprobe
    with pytest.raises(UsageError, match="'IVF99999999'"):
        sized_candidates("IVF99999999", 768, 10**12)
    with pytest.raises(UserError, match="needs at least 99999 patches, 2 photos have"):
        plan_indexes(workload(2, factory="IVF99999,SQ8"))


@settings(max_examples=30, deadline=None)
@given(photos=st.integers(10_000, 10**12), shards=st.integers(1, 30))
def test_more_shards_are_smaller_and_more_in_all(photos: int, shards: int) -> None:
    less, more = (plan_indexes(workload(photos, shards=count)) for count in (shards, shards + 1))
    for one, other in zip(less, more, strict=True):
        assert other.shard_bytes < one.shard_bytes
        assert other.bytes > one.bytes
        assert one.shard_bytes * one.shards >= one.rows * one.shape.code
        assert one.candidates[one.spec.factory] == one.bytes
        assert list(one.candidates.values()) == sorted(one.candidates.values(), reverse=True)


@settings(max_examples=30, deadline=None)
@given(photos=st.integers(1, 10**9), nodes=st.integers(1, 64), memory=st.integers(4, 1000))
def test_a_verdict_that_says_how_to_mend_it_is_right(photos: int, nodes: int, memory: int) -> None:
    work = workload(photos, nodes=nodes, memory=memory * GB)
    indexes = plan_indexes(work)
    for verdict in verdicts(work, indexes, 10**9):
        assert verdict.fits == (verdict.bytes <= verdict.room)
        assert str(verdict).count("\n") == 0
        assert verdict.fits or "use " in str(verdict)
    assert held_bytes(work, indexes) >= sum(each.bytes for each in indexes) / nodes / 2


def test_a_shard_too_large_says_how_many_would_fit() -> None:
    work = workload(1_000_000, memory=16 * GB, shards=1, factory="IVF65536,SQ8", scales=(NARROW,))
    told = {each.what: each for each in verdicts(work, plan_indexes(work), 10**9)}
    shard = told[f"shard at scale {NARROW}"]
    text = str(shard)
    assert not shard.fits
    assert (
        text.startswith("shard at scale 4:4 of 229.9 GB")
        and "does not fit node of 16.0 GB: use --shards " in text
    )
    fitting = int(text.split("--shards ")[1].split()[0])
    better = workload(1_000_000, memory=16 * GB, shards=fitting, factory="IVF65536,SQ8", scales=(NARROW,))
    assert {each.what: each for each in verdicts(better, plan_indexes(better), 10**9)}[shard.what].fits
    building = told[f"building a shard at scale {NARROW}"]
    fitting = int(str(building).split("--shards ")[1].split()[0])
    better = workload(1_000_000, memory=16 * GB, shards=fitting, factory="IVF65536,SQ8", scales=(NARROW,))
    assert {each.what: each for each in verdicts(better, plan_indexes(better), 10**9)}[building.what].fits
    # Many shards on one node are as large together: that wants nodes.
    every = {each.what: each for each in verdicts(better, plan_indexes(better), 10**9)}
    held = str(every["all that a node holds in training"])
    nodes = int(held.split("--nodes ")[1].split()[0])
    spread = workload(
        1_000_000, memory=16 * GB, nodes=nodes, shards=nodes, factory="IVF65536,SQ8", scales=(NARROW,)
    )
    every = {each.what: each for each in verdicts(spread, plan_indexes(spread), 10**9)}
    assert every["all that a node holds in training"].fits


def test_without_a_number_shards_are_as_many_as_memory_needs() -> None:
    small = plan_indexes(workload(1_000_000, memory=16 * GB, nodes=3, factory="PCA64,IVF65536,SQ8"))
    assert small[0].shards % 3 == 0 and small[0].shards > 3
    assert max(small[0].memory.add, small[0].memory.audit) <= 16 * GB
    assert {index.shards for index in small} == {small[0].shards}  # build-index takes one number
