"""Bank building with a node that dies or is slow."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from art2real.core.scale import Scale
from art2real.data.bank_build import build_bank
from art2real.data.manifest import BankSettings
from art2real.distributed import bank_job
from tests.faults.faulty_cluster import FaultyCluster, faulty_cluster, slowed
from tests.faults.journal import Journal
from tests.faults.outcome import Blow, Outcome, Stopwatch, contents
from tests.faults.pictures import write_large_photos

SETTINGS = BankSettings(image_size=48, scales=(Scale(16, 6), Scale(8, 5)), photos_per_shard=6)
_SLOW = 0.8
"""Share of the time that the slow node stands still."""


def node_killed(folder: Path) -> Outcome:
    """One of two nodes dies while both write shards."""
    with faulty_cluster(1, 1) as cluster:
        plain = _undisturbed(cluster, folder)
        with Journal(folder / "journal").of(bank_job) as journal:
            blow = Blow(lambda: journal.strike_in_the_middle(cluster, cluster.kill))
            with blow.beside():
                disturbed = _timed(folder, "disturbed")
    return Outcome(plain, disturbed, blow.recovery, _equal(folder))


def node_slow(folder: Path) -> Outcome:
    """One of two nodes stands still for most of the time; nothing is interrupted."""
    with faulty_cluster(1, 1) as cluster:
        plain = _undisturbed(cluster, folder)
        node = cluster.workers[0]
        with Journal(folder / "journal").of(bank_job) as journal:
            slow = _timed(folder, "disturbed", slowed(node, _SLOW))
        done = journal.nodes()
        pieces = [done.get(each.node_id, 0) for each in (node, *cluster.workers[1:])]
    return Outcome(plain, slow, None, _equal(folder), {"pieces_of_slow_and_other": pieces})


def _undisturbed(cluster: FaultyCluster, folder: Path) -> float:
    """Seconds of a build, after another one that has started all workers."""
    write_large_photos(folder / "few", 12, side=64)
    write_large_photos(folder / "photos", 72, side=1500)
    build_bank(folder / "few", folder / "warm", SETTINGS, write=bank_job.write_on_cluster)
    return _timed(folder, "undisturbed")


def _timed(folder: Path, name: str, beside: AbstractContextManager[None] | None = None) -> float:
    with beside or nullcontext(), Stopwatch() as watch:
        build_bank(folder / "photos", folder / name, SETTINGS, write=bank_job.write_on_cluster)
    return watch.seconds


def _equal(folder: Path) -> bool:
    return contents(folder / "undisturbed") == contents(folder / "disturbed")
