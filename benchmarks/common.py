"""What the benchmarks share: alternating runs, medians with their spread, and where they were measured."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any


def machine(*packages: str) -> dict[str, Any]:
    """Processor, cores in use, system, date and the versions of `packages`."""
    processor = platform.processor() or platform.machine()
    about = Path("/proc/cpuinfo")
    if about.exists():
        names = [
            line.split(":", 1)[1].strip() for line in about.read_text().splitlines() if "model name" in line
        ]
        processor = names[0] if names else processor
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": processor,
        "cores": cores,
        "system": platform.system(),
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def alternate(
    runs: Mapping[str, Callable[[], object]], *, repeats: int, warm_ups: int = 1
) -> dict[str, list[float]]:
    """Seconds of each run, `repeats` times, one after the other in turns: a noisy machine hits all alike."""
    for _ in range(warm_ups):
        for run in runs.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest of some measurements, and how many there are."""
    return {
        "median": statistics.median(values),
        "least": min(values),
        "greatest": max(values),
        "count": len(values),
    }


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """A Markdown table with the keys of the first row as its head; floats to three digits."""
    head = list(rows[0])
    cells = [
        [f"{row[key]:.3g}" if isinstance(row[key], float) else str(row[key]) for key in head] for row in rows
    ]
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def report(
    title: str, about: Mapping[str, Any], rows: Sequence[Mapping[str, object]], path: Path | None
) -> None:
    """Prints a title, the machine and the table; writes the same as JSON where a path is given."""
    print(f"{title}\n\n" + ", ".join(f"{key} {value}" for key, value in about.items()) + f"\n\n{table(rows)}")
    if path is not None:
        text = json.dumps(
            {"title": title, "machine": dict(about), "rows": [dict(row) for row in rows]}, indent=2
        )
        path.write_text(text + "\n", encoding="utf-8")
