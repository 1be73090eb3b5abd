"""Retrieval from a memory bank: index types, fidelity of the estimators, index actors, growth.

    python benchmarks/retrieval.py PART --work DIR [--data DIR] [--json FILE]

PART is `index`, `fidelity`, `actors` or `growth`. DATA holds trainB and testB (photos) and testA (paintings);
without it photos are made here. --work keeps the banks (up to 12 GB), so that the parts can share them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import retrieval_actors
import retrieval_fidelity
import retrieval_growth
import retrieval_index
from common import machine, report
from retrieval_bank import Corpus

PARTS = {
    "index": ("Index types against exact search", retrieval_index.rows),
    "fidelity": ("Estimators against the whole bank", retrieval_fidelity.rows),
    "actors": ("Index actors against one process", retrieval_actors.rows),
    "growth": ("Growth of the bank", retrieval_growth.rows),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--data", type=Path, help="folder with trainB, testB and testA")
    parser.add_argument("--json", type=Path, help="file for the figures as JSON")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    title, measure = PARTS[arguments.part]
    rows = measure(Corpus(arguments.work, arguments.data))
    report(title, machine("torch", "faiss-gpu", "ray", "numpy"), rows, arguments.json)


if __name__ == "__main__":
    main()
