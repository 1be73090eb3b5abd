"""The demo on this machine: wall time and peak memory of `art2real-cli demo`, with Ray and all its processes.

python benchmarks/demo.py [--json FILE] [--steps N] [--out DIR]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from commands import art2real, measure
from common import machine, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file for the figures as JSON")
    parser.add_argument("--steps", type=int, help="training steps; none: those of the demo")
    parser.add_argument("--out", type=Path, help="keep what the demo makes in this new folder")
    arguments = parser.parse_args()
    steps = [] if arguments.steps is None else ["--steps", str(arguments.steps)]
    with tempfile.TemporaryDirectory() as folder:
        out = arguments.out or Path(folder) / "out"
        measured = measure(art2real("demo", "--json", "--out", str(out), *steps))
    result = json.loads(measured.output)
    rows: list[dict[str, object]] = [
        {"what": f"stage {name}", "value": value, "unit": "s"} for name, value in result["seconds"].items()
    ]
    rows += [
        {"what": "the whole command", "value": round(measured.seconds, 1), "unit": "s"},
        {"what": "peak memory", "value": round(measured.peak_bytes / 2**30, 2), "unit": "GiB"},
        {"what": "processes at the peak", "value": measured.processes, "unit": ""},
        {"what": "training steps", "value": result["steps"], "unit": ""},
    ]
    for distance in result["distances"]:
        change = f"{distance['before']:.3f} to {distance['after']:.3f}"
        nearer = f"{distance['unit']}; nearer in {distance['nearer']} of {distance['count']}"
        rows.append({"what": f"{distance['name']}, painting to translation", "value": change, "unit": nearer})
    report("The demo", machine("torch", "ray"), rows, arguments.json)


if __name__ == "__main__":
    main()
