"""Measures the constants of the model on this machine, in one to two minutes.

Small but real work: two banks of made photos, an index, the loss, a training step. What has two unknowns is
measured twice, with wide patches and with narrow ones.
"""

from __future__ import annotations

import gc
import itertools
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path

import torch

from art2real.config.tree import Networks, Objective, Schedule
from art2real.core.precision import network_dtype
from art2real.index.pace import NARROW, WIDE, products, scans
from art2real.plan.clock import all_cores, cores, taken
from art2real.plan.constants import DEFAULT, FORMAT_VERSION, Constant, Constants, Measured, read_constants
from art2real.plan.measured_bank import BankPace, measure_bank
from art2real.plan.measured_loss import affinities, chances, split
from art2real.plan.networks import step_multiply_adds
from art2real.training.step import CycleGAN, build_networks

ROUNDS = 3
CROP = 128
_SOURCE = "plan --calibrate"
# Not measured here: they need a cluster, or minutes.
_KEPT = ("rotation_seconds", "cluster_share", "request_seconds")

Say = Callable[[str], None]


def calibrate(say: Say = lambda words: None, *, crop: int = CROP, rounds: int = ROUNDS) -> Constants:
    """The constants of this machine.

    Args:
        say: called with what is measured next.
        crop: side of the training step's images, pixels. rounds: of each measurement.
    """
    found: dict[str, Sequence[float]] = {}
    devices = [torch.device("cpu")] + ([torch.device("cuda")] if torch.cuda.is_available() else [])
    say("training step")
    # First, while nothing else of this process has taken memory.
    found.update(_networks(devices[0], crop, rounds))
    gc.collect()
    say("bank, index and retrieval")
    with tempfile.TemporaryDirectory(prefix="art2real-plan-") as folder:
        pace = measure_bank(Path(folder), rounds)
    found.update(pace.constants)
    say("search")
    together = partial(taken, rounds=rounds, clock=all_cores)
    wide, narrow = (products(together, width) for width in (WIDE, NARROW))
    product, pair = split(wide, narrow, (WIDE, NARROW))
    found |= {"product_seconds": product, "product_pair_seconds": pair}
    wide, narrow = (scans("SQfp16", together, width) for width in (WIDE, NARROW))
    value, row = split(wide, narrow, (WIDE, NARROW))
    found |= {"scan_fp16_seconds": [each / 2 for each in value], "scan_row_seconds": row}
    for name, codec, code in (("sq8", "SQ8", WIDE), ("pq", "PQ32", 32)):
        whole = scans(codec, together)
        found[f"scan_{name}_seconds"] = [
            max(each - statistics.median(row), each / 10) / code for each in whole
        ]
    # What transforms and centroids take of a row that is taken in is counted by itself.
    known = pace.turned * statistics.median(found["exact_value_seconds"]) + pace.centroids * (
        pace.width * statistics.median(product) + statistics.median(pair)
    )
    found["take_in_seconds"] = [max(each - known, each / 10) for each in found["take_in_seconds"]]
    say("loss")
    found.update(chances(rounds))
    found.update(affinities(rounds, devices[0]))
    if len(devices) > 1:
        say("GPU")
        found["gpu_network_seconds"] = _networks(devices[1], 2 * crop, rounds)["network_seconds"]
        found["gpu_affinity_seconds"] = affinities(rounds, devices[1])["affinity_value_seconds"]
    return _constants(found, crop, pace)


def _constants(found: dict[str, Sequence[float]], crop: int, pace: BankPace) -> Constants:
    constants = {
        name: Constant(
            value=statistics.median(values), least=min(values), greatest=max(values), source=_SOURCE
        )
        for name, values in found.items()
    }
    kept = read_constants(DEFAULT).constants
    return Constants(
        format_version=FORMAT_VERSION,
        machine=f"{cores()} cores of {_processor()}",
        date=date.today().isoformat(),
        measured=Measured(
            rows=pace.rows, lists=4096, cores=cores(), crop=crop, source_pixels=pace.source_pixels
        ),
        constants={**constants, **{name: kept[name] for name in _KEPT}},
    )


def _networks(device: torch.device, crop: int, rounds: int) -> dict[str, Sequence[float]]:
    """A CycleGAN step with the published networks: core-seconds a multiply-add, and memory."""
    before = _most_bytes()
    model = CycleGAN(
        build_networks(Networks(), 0),
        Objective(),
        Schedule(),
        device=device,
        bfloat16=network_dtype(device) is torch.bfloat16,
    )
    random = torch.Generator().manual_seed(0)
    x, y = (torch.rand(1, 3, crop, crop, generator=random).mul(2).sub(1).to(device) for _ in range(2))
    steps = itertools.count()

    def work() -> None:
        losses = model.step(x, y, next(steps))
        float(next(iter(losses.values())))  # a GPU may still be at work

    seconds = taken(work, rounds, time.perf_counter if device.type == "cuda" else all_cores)
    weights = sum(each.numel() for network in model.networks.values() for each in network.parameters())
    # Weights, gradients and Adam's two averages, 4 bytes each, are there whatever the crop.
    fixed = 16 * weights
    grown = max(_most_bytes() - before - fixed, 1)
    return {
        "network_seconds": [each / step_multiply_adds(crop) for each in seconds],
        "worker_bytes": [before + fixed],
        "worker_pixel_bytes": [grown / crop**2],
    }


def _most_bytes() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    if about.exists():
        for line in about.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()
