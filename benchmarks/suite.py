"""The test suite on this machine: wall time of a plain `pytest`, and its slowest tests.

python benchmarks/suite.py [--json FILE]
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from commands import measure
from common import machine, report

_SLOWEST = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file for the figures as JSON")
    arguments = parser.parse_args()
    tests = str(Path(__file__).parents[1] / "tests")
    measured = measure([sys.executable, "-m", "pytest", "-q", f"--durations={_SLOWEST}", tests])
    rows: list[dict[str, object]] = [
        {"what": "pytest", "value": round(measured.seconds, 1), "unit": "s"},
        {"what": "peak memory", "value": round(measured.peak_bytes / 2**30, 2), "unit": "GiB"},
        {"what": "outcome", "value": measured.output.strip().splitlines()[-1], "unit": ""},
    ]
    for seconds, test in re.findall(r"^([\d.]+)s (?:call|setup)\s+(\S+)", measured.output, re.MULTILINE):
        rows.append({"what": test, "value": float(seconds), "unit": "s"})
    report("The test suite", machine("torch", "ray", "pytest"), rows, arguments.json)


if __name__ == "__main__":
    main()
