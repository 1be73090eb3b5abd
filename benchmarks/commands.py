"""Runs a command of the project and measures it: wall time, and the memory of all its processes together."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

_BETWEEN_LOOKS = 0.5  # seconds; a peak shorter than that can be missed


@dataclass(frozen=True)
class Measured:
    """What a command that succeeded took."""

    output: str
    seconds: float
    peak_bytes: int
    """Proportional share of memory (PSS), summed over the process tree: shared pages count once."""
    processes: int
    """At the peak."""


def measure(command: Sequence[str]) -> Measured:
    """Runs a command to its end; this process ends too if it fails."""
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        peak, processes = _watch(process)
        output, _ = process.communicate()
    seconds = time.perf_counter() - begun
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with exit code {process.returncode}")
    return Measured(output, seconds, peak, processes)


def art2real(*arguments: str) -> list[str]:
    """The command line of this environment's art2real."""
    return [sys.executable, "-m", "art2real.cli", *arguments]


def _watch(process: subprocess.Popen[str]) -> tuple[int, int]:
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
