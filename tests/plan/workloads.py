"""Workloads and constants for the tests of plans: constants of round figures, no machine's own."""

from __future__ import annotations

from typing import Any

from art2real.core.scale import Scale
from art2real.plan.constants import FORMAT_VERSION, MEANING, Constant, Constants, Measured
from art2real.plan.workload import Machines, Prices, Training, Workload

GB = 10**9
WIDE, NARROW = Scale(16, 6), Scale(4, 4)


def made_constants(**others: float) -> Constants:
    """Every constant of a CPU 1e-9, but for shares and bytes; `others`: by name."""
    values = dict.fromkeys(MEANING, 1e-9) | {
        "distinct_share": 0.5,
        "cluster_share": 0.5,
        "scanned_wide_share": 1.0,
        "scanned_narrow_share": 1.0,
        "worker_bytes": 1e9,
        "worker_pixel_bytes": 1e4,
    }
    return Constants(
        format_version=FORMAT_VERSION,
        machine="a made machine",
        date="2026-01-01",
        measured=Measured(rows=10**6, lists=4096, cores=4, crop=128, source_pixels=65536),
        constants={
            name: Constant(value=value, least=value, greatest=value, source="made")
            for name, value in {**values, **others}.items()
        },
    )


def workload(photos: int = 10_000, **given: Any) -> Workload:
    """Of two scales on nodes of 8 cores and 64 GB; `given`: of the workload, its machines or its training."""
    machines = {"nodes": 1, "cpus": 8, "gpus": 0, "memory": 64 * GB, "network": 1e10}
    training: dict[str, Any] = {"steps": 1000}
    rest: dict[str, Any] = {"scales": (WIDE, NARROW)}
    for name, value in given.items():
        if name in machines:
            machines[name] = value
        elif name in Training.__dataclass_fields__:
            training[name] = value
        elif name in Prices.__dataclass_fields__:
            rest["prices"] = Prices(**{name: value})
        else:
            rest[name] = value
    return Workload(photos=photos, machines=Machines(**machines), training=Training(**training), **rest)
