"""Faults on simulated clusters: what each costs, and whether the result is the same.

    python benchmarks/faults.py [--only NAME ...] [--work DIR] [--json FILE]

Each fault runs in a process of its own on a cluster that it starts on this machine: a stage undisturbed, and
then the same stage with the fault in the middle of it (see tests/faults, whose tests look at the same runs).

- undisturbed, disturbed: seconds of the stage, without the start of the cluster; where the command has to be
  given again, those of both commands and of the new cluster's start.
- recovery: seconds from the fault until something that it had interrupted was done: a piece of a bank or of a
  translation, a step of an index (the longest of its three), the next logged step of a training, an answer of
  a shard; with a store that was away, from its return. A dead node is noticed after two seconds here (Ray's
  own setting: fifteen). "-": nothing was interrupted.
- equal: the same files to the byte, the same losses to the bit.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from common import machine, report

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.faults.catalogue import BY_NAME, FAULTS, Fault, has_redis, run_apart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=sorted(BY_NAME), metavar="NAME", help="names of faults")
    parser.add_argument("--work", type=Path, help="folder for all that is made, kept afterwards")
    parser.add_argument("--json", type=Path, help="file for the figures as JSON")
    arguments = parser.parse_args()
    chosen = [fault for fault in FAULTS if not arguments.only or fault.name in arguments.only]
    if not has_redis():
        chosen = [fault for fault in chosen if fault.name != "bank-redis"]
        print("bank-redis is left out: there is no redis-server", file=sys.stderr)
    rows = []
    with tempfile.TemporaryDirectory(prefix="faults-") as temporary:
        for fault in chosen:
            folder = (arguments.work or Path(temporary)) / fault.name
            folder.mkdir(parents=True)
            print(f"{fault.name}: {fault.stage}, {fault.what} ...", file=sys.stderr)
            rows.append(row(fault, folder))
    report("Faults", machine("ray", "torch", "faiss-gpu", "pyarrow"), rows, arguments.json)


def row(fault: Fault, folder: Path) -> dict[str, object]:
    came_of_it = run_apart(fault.name, folder)
    return {
        "fault": fault.name,
        "stage": fault.stage,
        "what": fault.what,
        "undisturbed, s": came_of_it.undisturbed,
        "disturbed, s": came_of_it.disturbed,
        "recovery, s": "-" if came_of_it.recovery is None else came_of_it.recovery,
        "equal": came_of_it.equal,
    }


if __name__ == "__main__":
    main()
