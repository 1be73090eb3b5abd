"""The stages on 1, 2 and 4 simulated nodes that share this machine's cores, and without Ray.

    python benchmarks/scaling.py [--work DIR] [--json FILE]

The work and the cores stay the same, only the cluster changes: a head that takes no work, and N nodes with
cores / N CPUs each, but never less than one; with more nodes than cores, more processes work at the same time
than there are cores. More nodes bring no more computing power here: the ideal time is that of one node, and
what is measured is what nodes cost in processes, in what travels between them, and in work cut smaller.

Columns:
- efficiency: median seconds on one node / median seconds on N.
- x plain: median seconds of the same stage in one process without Ray / those on N nodes. The plain bank is
  built by one thread; the plain index and the plain training use a thread for each core.
- overhead: 1 - processor seconds of the plain stage / processor seconds of all of the cluster's processes
  while the stage runs: the share of the processors' work that the plain stage does without. Cores that share
  a physical one slow each other down, which is in it too; where small pieces fit caches better, it is
  negative.
- cores busy: processor seconds / (seconds x cores).

Stages:
- bank: photos to a memory bank, a CPU for each task.
- retrieval: the neighbours of the patches of one 256-pixel image, and these neighbours' patches; four index
  actors spread over the nodes, one client beside the head.
- training: a step of CycleGAN with the same images in all, which N workers share; gradients are averaged by
  gloo. Only steps after the first ones count; "start": seconds of the whole run that were no steps.

Each cluster is started in a process of its own, in turns over several rounds. Twelve minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bank_build import make_photos, repeated
from common import machine, report, spread
from retrieval_bank import build
from scaling_stages import CORES, INDEX_ACTORS, SCALE, Sizes

from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.manifest import BankSettings
from art2real.index.manifest import Request

NODES = (1, 2, 4)
PLAIN = 0  # nodes of a run without Ray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="new folder for all that is made (about 1 GB)")
    parser.add_argument("--rounds", type=int, default=2, help="times that each cluster is started")
    parser.add_argument("--repeats", type=int, default=4, help="measurements of a stage in a round")
    parser.add_argument("--photos", type=int, default=4000, help="photos of the bank that is built")
    parser.add_argument("--indexed", type=int, default=400, help="photos of the bank that is searched")
    parser.add_argument("--steps", type=int, default=40, help="steps of training in a round")
    parser.add_argument("--json", type=Path, help="file for the figures as JSON")
    arguments = parser.parse_args()
    begun = time.perf_counter()
    work = arguments.work or Path(tempfile.mkdtemp(prefix="scaling-"))
    work.mkdir(parents=True, exist_ok=True)
    sizes = Sizes(arguments.photos, arguments.indexed, arguments.steps, arguments.repeats)
    _prepare(work, sizes)
    found: dict[int, list[dict[str, dict[str, list[float]]]]] = {nodes: [] for nodes in (PLAIN, *NODES)}
    for number in range(arguments.rounds):
        for nodes, runs in found.items():
            runs.append(_in_a_process_of_its_own(nodes, work, sizes))
            print(f"round {number + 1}, {nodes or 'no'} nodes: {runs[-1]}", file=sys.stderr, flush=True)
    rows = [
        _row(stage, nodes, {key: _together(runs, stage) for key, runs in found.items()})
        for stage in found[PLAIN][0]
        for nodes in found
    ]
    about = machine("ray", "torch", "faiss-gpu") | {"took": f"{time.perf_counter() - begun:.0f} s"}
    report("Scaling over simulated nodes", about, rows, arguments.json)
    if arguments.work is None:
        shutil.rmtree(work)


def _prepare(work: Path, sizes: Sizes) -> None:
    """Makes photos, the bank that is searched with its index, and the two folders that are trained on."""
    originals = make_photos(work / "made")
    repeated(originals, sizes.photos, work / "photos")
    few = repeated(originals, sizes.indexed, work / "indexed")
    settings = BankSettings(image_size=128, scales=(SCALE,), photos_per_shard=-(-sizes.indexed // 8))
    build_bank(few, work / "searched", settings)
    build(MemoryBank.open(work / "searched"), SCALE, Request(shards=INDEX_ACTORS))
    repeated(originals[:40], 40, work / "paintings")
    repeated(originals[40:100], 60, work / "pictures")


def _in_a_process_of_its_own(nodes: int, work: Path, sizes: Sizes) -> dict[str, dict[str, list[float]]]:
    """The measurements of all stages, by stage: what `scaling_stages.py` prints."""
    command = [sys.executable, str(Path(__file__).with_name("scaling_stages.py")), str(nodes), str(work)]
    # Ray listens on every interface: a token that only these processes know keeps others out.
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    done = subprocess.run(
        [*command, *map(str, sizes)], stdout=subprocess.PIPE, text=True, env={**os.environ, **token}
    )
    if done.returncode != 0:
        sys.exit(f"{nodes} nodes: ended with exit code {done.returncode}")
    found: dict[str, dict[str, list[float]]] = json.loads(done.stdout.splitlines()[-1])
    return found


def _together(runs: list[dict[str, dict[str, list[float]]]], stage: str) -> dict[str, list[float]]:
    """The measurements of a stage in all rounds."""
    return {key: [value for run in runs for value in run[stage][key]] for key in runs[0][stage]}


def _row(stage: str, nodes: int, measured: dict[int, dict[str, list[float]]]) -> dict[str, object]:
    seconds = {key: statistics.median(values["seconds"]) for key, values in measured.items()}
    processor = {key: statistics.median(values["processor"]) for key, values in measured.items()}
    own = spread(measured[nodes]["seconds"])
    row: dict[str, object] = {
        "stage": stage,
        "nodes": nodes or "plain",
        "seconds": own["median"],
        "least - greatest": f"{own['least']:.3g} - {own['greatest']:.3g}",
        "runs": own["count"],
        "efficiency": seconds[1] / seconds[nodes] if nodes else "",
        "x plain": seconds[PLAIN] / seconds[nodes],
        "processor s": processor[nodes],
        "overhead": 1 - processor[PLAIN] / processor[nodes] if nodes else "",
        "cores busy": processor[nodes] / seconds[nodes] / CORES,
    }
    start = measured[nodes].get("start")
    return row | {"start": statistics.median(start) if start else ""}


if __name__ == "__main__":
    main()
