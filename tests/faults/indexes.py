"""Index building with a node that dies in each of its steps."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from art2real.core.scale import Scale
from art2real.data.bank_build import build_bank
from art2real.data.manifest import BankSettings
from art2real.distributed.index_job import build_index
from tests.faults.faulty_cluster import FaultyCluster, faulty_cluster, wait_for
from tests.faults.outcome import Blow, Outcome, Stopwatch, contents
from tests.pictures import write_photos

_STEPS = {"_train": "trained", "_add_shard": "added", "_finish": "audited"}
"""Tasks of Ray, and how `on_progress` calls their ends."""


def nodes_killed(folder: Path) -> Outcome:
    """The node that trains dies, then the one that adds the shard, then that which audits; one is left."""
    write_photos(folder / "photos", 240, height=128, width=128)  # each step takes a second or more
    settings = BankSettings(image_size=128, scales=(Scale(16, 6),), photos_per_shard=60)
    build_bank(folder / "photos", folder / "undisturbed", settings)
    shutil.copytree(folder / "undisturbed", folder / "disturbed")
    with faulty_cluster(1, 1, 1, 1) as cluster:
        with Stopwatch() as plain:
            _build(folder / "undisturbed")
        ended: dict[str, float] = {}
        recoveries: dict[str, float] = {}
        blow = Blow(lambda: _strike_each_step(cluster, ended, recoveries))
        with blow.beside(), Stopwatch() as disturbed:
            _build(folder / "disturbed", ended)
        left = len(cluster.workers)
    equal = _result(folder / "undisturbed") == _result(folder / "disturbed")
    notes = {"nodes_left": left, "recoveries": recoveries}
    return Outcome(plain.seconds, disturbed.seconds, blow.recovery, equal, notes)


def _build(bank: Path, ended: dict[str, float] | None = None) -> None:
    def on_progress(done: float, total: float | None, step: str) -> None:
        if ended is not None:
            ended[step.split()[-1]] = time.monotonic()

    build_index(bank, factory="IVF256,SQfp16", shards=1, min_recall=0.5, on_progress=on_progress)


def _result(bank: Path) -> tuple[Any, ...]:
    """All files; of the manifest, whose audit tells how fast it was, all but that."""
    files = contents(bank)
    [manifest] = [name for name in files if name.startswith("index/") and name.endswith("manifest.json")]
    document = json.loads(files.pop(manifest))
    for audit in (document["audit"], document["first_audit"]):
        del audit["queries_per_second"]
    return files, document


def _strike_each_step(cluster: FaultyCluster, ended: dict[str, float], recoveries: dict[str, float]) -> float:
    """The longest of the recoveries."""
    for task, words in _STEPS.items():
        node = cluster.node_at_work(f"ray::{task}")
        cluster.kill(node)
        struck = time.monotonic()

        def over(words: str = words, struck: float = struck) -> Any:
            return ended[words] if ended.get(words, 0.0) > struck else None

        recoveries[words] = wait_for(over) - struck
        # A node that is killed is missed for two seconds: what ended sooner was not interrupted.
        assert recoveries[words] > 1, f"{task} had ended before its node was killed"
    return max(recoveries.values())
