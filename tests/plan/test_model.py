from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from art2real.errors import UsageError
from art2real.plan.networks import parameters
from art2real.plan.plan import make_plan
from art2real.plan.table import duration, in_bytes, plan_as_text
from tests.plan.workloads import GB, WIDE, made_constants, workload

CONSTANTS = made_constants()


@settings(max_examples=25)
@given(photos=st.integers(1, 10**12), nodes=st.integers(1, 1000), gpus=st.integers(0, 8))
def test_figures_are_finite_and_add_up(photos: int, nodes: int, gpus: int) -> None:
    constants = made_constants(gpu_network_seconds=1e-13, gpu_affinity_seconds=1e-13)
    plan = make_plan(workload(photos, nodes=nodes, gpus=gpus, gb_month=0.02), constants)
    assert plan.disk_bytes == plan.bank.bytes + sum(index.bytes for index in plan.indexes)
    assert plan.bank.bytes == plan.bank.pixels + plan.bank.patches + plan.bank.rest
    step = plan.step
    assert step.networks and step.affinity and step.total
    assert step.total >= step.networks + step.affinity
    assert plan.training_seconds == pytest.approx(plan.steps * step.total)
    assert plan.seconds == pytest.approx(plan.bank_seconds + plan.index_seconds + plan.training_seconds)
    assert plan.money.disk_month == pytest.approx(plan.disk_bytes / 1e9 * 0.02)
    assert plan.money.nodes is None
    for number, (index, time) in enumerate(zip(plan.indexes, plan.times, strict=True)):
        assert time.build == time.train + time.add + time.audit
        assert math.isfinite(time.build) and time.add > 0 and plan.queries_per_second(number) > 0
        assert index.rows == photos * {16: 1681, 4: 4096}[index.scale.size]
    assert plan.summary()["seconds"] == plan.seconds
    assert "photo" in plan_as_text(plan)


@settings(max_examples=25)
@given(photos=st.integers(1, 10**11), times=st.integers(2, 10))
def test_more_photos_take_longer(photos: int, times: int) -> None:
    # One type: auto gives more rows coarser codes, and more lists.
    less, more = (
        make_plan(workload(count, factory="IVF64,SQ8"), CONSTANTS) for count in (photos, photos * times)
    )
    assert more.bank.bytes > less.bank.bytes
    # A task is of up to 256 photos, and tasks run beside each other.
    if photos >= 256 * 8:
        assert more.bank_seconds > less.bank_seconds
    for one, other in zip(less.indexes, more.indexes, strict=True):
        assert other.bytes > one.bytes
        assert more.times[0].query > less.times[0].query
    if photos >= 256:
        assert more.index_seconds > less.index_seconds


@settings(max_examples=25)
@given(photos=st.integers(10**5, 10**9), nodes=st.integers(1, 90), more=st.integers(1, 100))
def test_more_nodes_build_no_slower(photos: int, nodes: int, more: int) -> None:
    given = {"factory": "IVF64,SQ8", "shards": 100}
    slow, fast = (
        make_plan(workload(photos, nodes=count, **given), CONSTANTS) for count in (nodes, nodes + more)
    )
    # One node sends nothing: what the network takes begins with the second.
    if nodes > 1:
        assert fast.bank_seconds <= slow.bank_seconds
    assert fast.wire.bytes > slow.wire.bytes
    assert fast.work.machines.workers == nodes + more


def test_what_is_on_the_wire() -> None:
    one = make_plan(workload(10_000), CONSTANTS).wire
    assert one.bytes == 0
    plan = make_plan(workload(10_000, nodes=2, shards=2, scales=(WIDE,)), CONSTANTS)
    patches = 41 * 41
    wire = plan.wire
    # All queries once to the other node, and the numbers of half of the draws.
    assert wire.queries == patches * 768 * 4 + 4096 * 16 // 2
    # Of the other shard, k scores and numbers a query, and half of the draws.
    assert wire.answers == 12 * patches * 32 * 2 // 2 + 4096 * 8 // 2
    assert wire.pixels == round((patches * 32 * 0.5 + 4096) * 768 / 2)
    assert wire.gradients == 4 * parameters()
    assert wire.bytes == wire.queries + wire.answers + wire.pixels + wire.gradients


def test_a_slow_network_is_felt() -> None:
    slow, fast = (make_plan(workload(10**6, nodes=4, network=speed), CONSTANTS) for speed in (1e6, 1e11))
    assert slow.bank_seconds == pytest.approx(8 * slow.bank.bytes / 4e6)
    assert slow.step.total > 5 * fast.step.total


def test_without_a_measured_gpu_no_time_is_made_up() -> None:
    plan = make_plan(workload(1000, gpus=1, node_hour=2.0), CONSTANTS)
    assert plan.step.total is plan.training_seconds is plan.seconds is plan.money.nodes is None
    assert "not known, as these constants have no GPU" in plan_as_text(plan)
    measured = made_constants(gpu_network_seconds=1e-13, gpu_affinity_seconds=1e-13)
    plan = make_plan(workload(1000, gpus=1, node_hour=2.0), measured)
    assert plan.money.nodes == pytest.approx(plan.seconds / 3600 * 2)


def test_no_money_without_a_price() -> None:
    plan = make_plan(workload(1000), CONSTANTS)
    assert (plan.money.nodes, plan.money.disk_month) == (None, None)
    assert "price" not in plan_as_text(plan)


def test_what_is_far_beyond_the_measured_is_marked() -> None:
    assert make_plan(workload(1000), CONSTANTS).extrapolated == []
    far = make_plan(workload(10**9, nodes=64), CONSTANTS).extrapolated
    assert [each.split(":")[0] for each in far] == [
        "index times and queries",
        "index training and expected shares",
        "all times",
        "bytes on the wire and what they take",
    ]
    assert "extrapolated" in plan_as_text(make_plan(workload(10**9, nodes=64), CONSTANTS))


def test_what_build_index_has_to_be_told() -> None:
    plan = make_plan(workload(100_000, nodes=4, memory=32 * GB), CONSTANTS)
    assert any("--memory" in each for each in plan.advice)
    assert any(f"--shards {plan.indexes[0].shards}" in each for each in plan.advice)
    assert make_plan(workload(100), CONSTANTS).advice == []


def test_steps() -> None:
    assert make_plan(workload(100, steps=7), CONSTANTS).steps == 7
    assert make_plan(workload(100, steps=None, epochs=3), CONSTANTS).steps == 300
    assert make_plan(workload(100, steps=None, epochs=3, paintings=500, nodes=2), CONSTANTS).steps == 750


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"photos": 0}, "--photos must be between 1"),
        ({"size": 4}, "--size must be between"),
        ({"nodes": 0}, "--nodes must be at least 1"),
        ({"memory": 0}, "--memory must be at least 1"),
        ({"gpus": -1}, "--gpus must be at least 0"),
        ({"network": 0.0}, "--network must be more than 0"),
        ({"network": math.nan}, "--network must be more than 0"),
        ({"shards": 0}, "--shards must be at least 1"),
        ({"replicas": 0}, "--replicas must be at least 1"),
        ({"steps": 0}, "--steps must be at least 1"),
        ({"crop": 30}, "--crop must be at least 32 and divisible by 4"),
        ({"scales": ()}, "at least one --scale"),
        ({"scales": (WIDE, WIDE)}, "given twice"),
        ({"size": 12}, "larger than the 12-pixel photos"),
    ],
)
def test_what_cannot_be_is_refused(given: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        workload(**given)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5 s"),
        (14, "14 s"),
        (90, "1.5 min"),
        (7200, "2 h"),
        (86400 * 12, "12 days"),
        (1e15, "3.2e+07 years"),
    ],
)
def test_durations(value: float, text: str) -> None:
    assert duration(value) == text


def test_bytes() -> None:
    assert [in_bytes(count) for count in (0, 999, 1e6, 1.34e9, 213e15, 1e30)] == [
        "0 bytes",
        "999 bytes",
        "1 MB",
        "1.34 GB",
        "213 PB",
        "1,000,000,000,000 EB",
    ]
