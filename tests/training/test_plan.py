"""What a run claims of a machine before it starts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from art2real.config.tree import Cluster
from art2real.training.plan import claimed_cpus, worker_cpus


@pytest.mark.parametrize(
    ("workers", "shards", "cpus", "each"),
    [
        (1, 0, 8, 8),
        (1, 3, 8, 6),  # three index actors of half a CPU
        (2, 3, 8, 3),
        (4, 3, 2, 1),  # never less than one
    ],
)
def test_workers_share_what_index_actors_leave(workers, shards, cpus, each):
    assert worker_cpus(Cluster(workers=workers, index_cpus=0.5), shards, cpus) == each


def test_what_the_settings_say_holds():
    assert worker_cpus(Cluster(cpus_per_worker=3), 3, 64) == 3


@given(st.integers(1, 9), st.integers(0, 9), st.integers(1, 256), st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_all_that_is_claimed_on_one_machine_can_be_placed_on_it(workers, shards, cores, index_cpus):
    cluster = Cluster(workers=workers, index_cpus=index_cpus)
    has = claimed_cpus(cluster, shards, cores)
    each = worker_cpus(cluster, shards, has)
    assert workers * each + shards * index_cpus <= has
    assert each == max(1, cores // workers)
