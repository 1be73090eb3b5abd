"""Where index actors go: nothing over its room, replicas apart, the same answer as by trying everything."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from art2real.index.placement import Need, Node, Placement, gpu_slots, homes, place, shards_of_actors

GB = 10**9


def room(memory: float, cpus: float = 8, **given: object) -> Node:
    return Node("node", memory, cpus, **given)  # type: ignore[arg-type]


def is_right(placed: Placement, needs: list[Need], nodes: list[Node]) -> bool:
    """Whether all that is claimed is there."""
    on = [
        [need for need, replicas in zip(needs, placed, strict=True) for at in replicas if at == number]
        for number in range(len(nodes))
    ]
    return all(
        sum(need.memory for need in here) <= node.memory
        and sum(need.cpus for need in here) <= node.cpus
        and sum(need.slots for need in here) <= node.slots
        and all(need.gpu_memory <= node.gpu_memory for need in here if need.slots)
        for here, node in zip(on, nodes, strict=True)
    )


def by_trying_everything(needs: list[Need], nodes: list[Node], replicas: int) -> int | None:
    """The least possible number of replicas of the same shards on one node; None: there is no room."""
    counts = [
        max(Counter((number // replicas, at) for number, at in enumerate(chosen)).values())
        for chosen in product(range(len(nodes)), repeat=len(needs) * replicas)
        if is_right(in_replicas(chosen, replicas), needs, nodes)
    ]
    return min(counts, default=None)


def in_replicas(chosen: tuple[int, ...], replicas: int) -> Placement:
    return tuple(chosen[at : at + replicas] for at in range(0, len(chosen), replicas))


NEEDS = st.builds(
    Need,
    memory=st.integers(0, 6),
    cpus=st.sampled_from([0.0, 0.5, 1.0]),
    slots=st.integers(0, 1),
    gpu_memory=st.integers(0, 2),
)
NODES = st.builds(
    Node,
    name=st.just("node"),
    memory=st.integers(0, 12),
    cpus=st.sampled_from([0.0, 1.0, 2.0, 4.0]),
    slots=st.integers(0, 3),
    gpu_memory=st.integers(0, 2),
    beside=st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 3).flatmap(
        lambda replicas: st.tuples(
            st.lists(NEEDS, min_size=1, max_size=5 // replicas),
            st.lists(NODES, min_size=1, max_size=3),
            st.just(replicas),
        )
    )
)
def test_a_placement_is_found_exactly_where_there_is_one(
    case: tuple[list[Need], list[Node], int],
) -> None:
    needs, nodes, replicas = case
    least = by_trying_everything(needs, nodes, replicas)
    placed = place(needs, nodes, replicas)
    assert (placed is None) == (least is None)
    if placed is not None:
        assert is_right(placed, needs, nodes)
        assert max(max(Counter(each).values()) for each in placed) == least


@settings(max_examples=50, deadline=None)
@given(st.lists(NEEDS, min_size=1, max_size=60), st.lists(NODES, min_size=1, max_size=20), st.integers(1, 3))
def test_nothing_is_ever_over_its_room(needs: list[Need], nodes: list[Node], replicas: int) -> None:
    placed = place(needs, nodes, replicas)
    if placed is not None:
        assert [len(each) for each in placed] == [replicas] * len(needs)
        assert is_right(placed, needs, nodes)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 3), st.integers(1, 5))
def test_alike_shards_come_to_alike_nodes_in_the_same_number(
    shards: int, nodes: int, replicas: int, memory: int
) -> None:
    placed = place([Need(memory)] * shards, [room(1000)] * nodes, replicas)
    assert placed is not None
    held = Counter(at for each in placed for at in each)
    counts = [held[number] for number in range(nodes)]
    assert max(counts) - min(counts) <= 1
    if nodes >= replicas:
        assert all(len(set(each)) == replicas for each in placed)


def test_bytes_are_evened_out_rather_than_counts() -> None:
    placed = place([Need(1), Need(1), Need(1), Need(1), Need(4)], [room(100), room(100)])
    assert placed == ((1,), (1,), (1,), (1,), (0,))


def test_nodes_beside_training_workers_come_first_and_others_take_what_is_too_much() -> None:
    nodes = [room(10), room(10, beside=True), room(10)]
    placed = place([Need(4), Need(4), Need(4)], nodes)
    assert placed is not None
    assert Counter(at for [at] in placed) == {1: 2, 0: 1}


def test_the_first_choice_is_taken_back_where_it_leads_nowhere() -> None:
    # Evened out, 4 and 3 would lie on different nodes, and 3 + 3 would fit on neither.
    needs = [Need(4), Need(3), Need(3), Need(2)]
    nodes = [room(6), room(6)]
    assert place(needs, nodes) is not None
    assert is_right(place(needs, nodes) or (), needs, nodes)


def test_a_thousand_actors_that_fit_and_that_do_not_are_told_apart_soon() -> None:
    needs = [Need(GB, 0.5)] * 500
    assert place(needs, [room(100 * GB, 64)] * 10, 2) is not None
    assert place(needs, [room(99 * GB, 64)] * 10, 2) is None


def test_shares_of_a_gpu_are_never_put_together_from_two() -> None:
    assert gpu_slots(1, 0.25) == 4
    assert gpu_slots(2, 1.0) == 2
    assert gpu_slots(2, 0.6) == 2  # not 3, though 2 / 0.6 > 3
    assert gpu_slots(1.5, 0.5) == 3
    assert gpu_slots(1.3, 0.5) == 2
    assert gpu_slots(0, 0.5) == 0
    assert gpu_slots(1, 0.1) == 10


@given(st.integers(0, 4), st.integers(1, 4), st.integers(0, 5), st.integers(0, 7))
def test_homes_of_replicas_have_no_node_in_common_and_all_nodes_are_used(
    first: int, replicas: int, more: int, turn: int
) -> None:
    placed = list(range(first, first + replicas))
    others = list(range(first + replicas + more))
    sets = homes(placed, others, turn)
    assert [each[0] for each in sets] == placed
    assert sorted(node for each in sets for node in each) == others
    assert max(map(len, sets)) - min(map(len, sets)) <= 1


@pytest.mark.parametrize(
    ("shards", "actors", "held"),
    [(3, None, ((0,), (1,), (2,))), (5, 2, ((0, 1), (2, 3, 4))), (2, 9, ((0,), (1,)))],
)
def test_actors_share_the_shards(shards: int, actors: int | None, held: tuple[tuple[int, ...], ...]) -> None:
    assert shards_of_actors(shards, actors) == held
