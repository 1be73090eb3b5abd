"""Brings one fault about in a process of its own; what came of it is the last line, as JSON.

    python -m tests.faults NAME FOLDER

FOLDER is an empty folder for all that is made. A process of its own, because Ray connects a process to one
cluster.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from tests.faults.catalogue import BY_NAME, ENVIRONMENT


def main(name: str, folder: str) -> None:
    os.environ.update(ENVIRONMENT)  # before Ray is imported
    fault = BY_NAME[name]
    scenario = getattr(import_module(f"tests.faults.{fault.module}"), fault.function)
    print(json.dumps(asdict(scenario(Path(folder)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
