"""The manifests, opened once, and what their tests share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

import art2real

TOP = Path(__file__).parents[2]
CLUSTER = TOP / "cluster"
IMAGE = f"registry.example.org/art2real:{art2real.__version__}"


@cache
def locked() -> dict[str, str]:
    """Versions of the image's packages."""
    lines = (CLUSTER / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def documents(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each is not None]


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a document, however deep."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from walk(each)
    elif isinstance(value, list):
        for each in value:
            yield from walk(each)


def quantity(text: str) -> int:
    """Bytes of a Kubernetes quantity."""
    for unit, power in (("Ki", 10), ("Mi", 20), ("Gi", 30)):
        if text.endswith(unit):
            return int(text.removesuffix(unit)) << power
    return int(text)
