"""The demo on this machine: wall time and peak memory of `art2real-cli demo`, with Ray and all its processes.

    python benchmarks/demo.py [--json FILE] [--steps N]

Memory is the proportional share (PSS) summed over the process tree, looked at twice a second; shared pages
count once. A peak shorter than that can be missed. Needs psutil.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from common import machine, report

_BETWEEN_LOOKS = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file for the figures as JSON")
    parser.add_argument("--steps", type=int, help="training steps; none: those of the demo")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "art2real.cli", "demo", "--json", "--out", str(Path(folder) / "out")]
        if arguments.steps is not None:
            command += ["--steps", str(arguments.steps)]
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        peak, processes = _watch(process)
        output, _ = process.communicate()
        seconds = time.perf_counter() - begun
    if process.returncode != 0:
        sys.exit(f"the demo ended with exit code {process.returncode}")
    result = json.loads(output)
    rows: list[dict[str, object]] = [
        {"what": f"stage {name}", "value": value, "unit": "s"} for name, value in result["seconds"].items()
    ]
    rows += [
        {"what": "the whole command", "value": round(seconds, 1), "unit": "s"},
        {"what": "peak memory", "value": round(peak / 2**30, 2), "unit": "GiB"},
        {"what": "processes at the peak", "value": processes, "unit": ""},
        {"what": "training steps", "value": result["steps"], "unit": ""},
    ]
    for distance in result["distances"]:
        for when in ("before", "after"):
            rows.append(
                {"what": f"{distance['name']} {when}", "value": distance[when], "unit": distance["unit"]}
            )
    report("The demo", machine("torch", "ray", "art2real"), rows, arguments.json)


def _watch(process: subprocess.Popen[str]) -> tuple[int, int]:
    """Peak memory in bytes of a process and all below it, and how many processes that were."""
    root = psutil.Process(process.pid)
    peak, processes = 0, 0
    while process.poll() is None:
        memory = 0
        try:
            tree = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            break
        for each in tree:
            try:
                memory += each.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied, AttributeError):
                continue
        if memory > peak:
            peak, processes = memory, len(tree)
        time.sleep(_BETWEEN_LOOKS)
    return peak, processes


if __name__ == "__main__":
    main()
