"""Translation of a folder with a node that dies."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import ray

from art2real.distributed import translate_job
from art2real.translation.translate import plan_translation, run_plan
from art2real.translation.translations import RECORD
from tests.checkpoints import write_checkpoint
from tests.faults.faulty_cluster import faulty_cluster, wait_for
from tests.faults.journal import Journal
from tests.faults.outcome import Blow, Outcome, Stopwatch, contents
from tests.faults.pictures import write_large_photos


def node_killed(folder: Path) -> Outcome:
    """One of two nodes dies while both translate: the one that counts the attempts, if it is one of them."""
    write_large_photos(folder / "images", 32, side=384)
    write_large_photos(folder / "few", 4, side=64)
    write_checkpoint(folder / "weights")
    counter = folder / "counter"
    notes: dict[str, object] = {}
    with faulty_cluster(1, 1) as cluster:
        _translate(folder, "few", "warm")
        plain = _translate(folder, "images", "undisturbed")

        def strike() -> float:
            node = wait_for(lambda: counter.read_text() if counter.exists() else None)
            among = [each for each in cluster.workers if each.node_id == node]
            notes["counter_died"] = bool(among)
            return journal.strike_in_the_middle(cluster, cluster.kill, among)

        noted = mock.patch.object(translate_job, "_Attempts", _noted_attempts(counter))
        with noted, Journal(folder / "journal").of(translate_job) as journal:
            blow = Blow(strike)
            with blow.beside():
                disturbed = _translate(folder, "images", "disturbed")
    notes["made"] = len(list((folder / "disturbed").glob("*.png")))
    equal = _result(folder / "undisturbed") == _result(folder / "disturbed")
    return Outcome(plain, disturbed, blow.recovery, equal, notes)


def _noted_attempts(counter: Path) -> type:
    """The job's counter of attempts, which writes down the node that it is on when it is made first."""

    class Attempts(translate_job._Attempts):
        def __init__(self) -> None:
            super().__init__()
            if not counter.exists():
                temporary = counter.with_suffix(".tmp")
                temporary.write_text(ray.get_runtime_context().get_node_id())
                temporary.replace(counter)

    return Attempts


def _translate(folder: Path, images: str, out: str) -> float:
    plan = plan_translation([str(folder / images)], {"ours": folder / "weights"}, folder / out)
    with Stopwatch() as watch:
        run_plan(plan, do_pictures=translate_job.translate_on_cluster)
    return watch.seconds


def _result(out: Path) -> tuple[dict[str, bytes], list[str]]:
    """All files; the record's lines stand in the order in which images were done."""
    return contents(out, without=(RECORD,)), sorted((out / RECORD).read_text().splitlines())
