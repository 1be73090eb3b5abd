"""What `art2real-cli plan` says, after calibration in the same run, against a bank, an index and steps.

    python benchmarks/plan_accuracy.py [--photos N] [--steps N] [--crop N] [--rounds N] [--work DIR]
    [--constants FILE] [--json FILE]

Everything runs without Ray, so that the model is compared and not Ray's start: in this process, but for rows
that are added to an index, which a process a core does. Each figure is predicted before it is measured. A
machine that is shared is now quick and now slow: a round calibrates and measures, and the medians of all
rounds are compared. The aim is a ratio between 0.77 and 1.3. About three minutes a round on two quiet cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from common import machine, report

from art2real.config.tree import Networks, Objective, Schedule
from art2real.core.estimators import make_estimator
from art2real.core.patches import extract
from art2real.core.precision import network_dtype
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.images import decode
from art2real.data.manifest import BankSettings
from art2real.index.build import add_shard, finish
from art2real.index.build import plan as shards_of
from art2real.index.learn import train
from art2real.index.manifest import Part, Request, check_index
from art2real.index.retriever import open_retriever
from art2real.index.source import RetrievedScale
from art2real.plan.calibrate import calibrate
from art2real.plan.clock import cores, one_thread
from art2real.plan.constants import read_constants
from art2real.plan.measured_bank import make_photos
from art2real.plan.model import bank_core_seconds, query_core_seconds, worker_bytes
from art2real.plan.plan import Plan, make_plan
from art2real.plan.workload import Machines, Training, Workload
from art2real.training.contextual import ContextualPull
from art2real.training.step import CycleGAN, build_networks

SIDE = 256
SCALES = (Scale(16, 6), Scale(4, 4))
WARM_UPS = 2
REPEATS = 5


class Comparison:
    """Predicted and measured figures of several rounds."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)

    def add(self, figure: str, predicted: float, measured: float, unit: str) -> None:
        self._found[figure, unit].append((predicted, measured))
        print(f"{figure}: {predicted:.3g} predicted, {measured:.3g} measured, {unit}", flush=True)

    def rows(self) -> list[dict[str, object]]:
        """Medians, their ratio, and the least and greatest ratio of a round."""
        rows: list[dict[str, object]] = []
        for (figure, unit), pairs in self._found.items():
            predicted, measured = (statistics.median(column) for column in zip(*pairs, strict=True))
            ratios = [one / other for one, other in pairs]
            rows.append(
                {
                    "figure": figure,
                    "predicted": predicted,
                    "measured": measured,
                    "unit": unit,
                    "ratio": predicted / measured,
                    "least": min(ratios),
                    "greatest": max(ratios),
                }
            )
        return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, help="new folder for all that is made")
    parser.add_argument(
        "--constants", type=Path, help="constants of plan --calibrate, instead of measuring them"
    )
    parser.add_argument("--json", type=Path, help="file for the figures as JSON")
    arguments = parser.parse_args()
    folder = arguments.work or Path(tempfile.mkdtemp(prefix="plan-accuracy-"))
    make_photos(folder / "photos", arguments.photos)
    seen = Comparison()
    for _ in range(arguments.rounds):
        constants = read_constants(arguments.constants) if arguments.constants else calibrate(print)
        work = Workload(
            photos=arguments.photos,
            machines=Machines(nodes=1, cpus=cores(), gpus=0, memory=64 * 10**9, network=1e10),
            size=SIDE,
            scales=SCALES,
            photos_per_shard=arguments.photos // cores(),
            shards=cores(),
            training=Training(steps=arguments.steps, crop=arguments.crop),
        )
        plan = make_plan(work, constants)
        bank = compare_bank(plan, folder, seen)
        for number in range(len(SCALES)):
            compare_index(plan, number, bank, seen)
        compare_steps(plan, bank, folder / "photos", seen)
    report("plan against what it plans", machine("torch", "numpy"), seen.rows(), arguments.json)
    if arguments.work is None:
        shutil.rmtree(folder)


def compare_bank(plan: Plan, folder: Path, seen: Comparison) -> MemoryBank:
    """A bank built by one process."""
    settings = BankSettings(image_size=SIDE, scales=SCALES, photos_per_shard=plan.work.photos_per_shard)
    seconds = []
    for _ in range(REPEATS):
        shutil.rmtree(folder / "bank", ignore_errors=True)
        with _timed() as taken:
            build_bank(folder / "photos", folder / "bank", settings)
        seconds.append(taken[0])
    files = [path for path in (folder / "bank").rglob("*") if path.is_file()]
    seen.add("bank, bytes", plan.bank.bytes, sum(path.stat().st_size for path in files), "bytes")
    seen.add(
        "bank, one process",
        bank_core_seconds(plan.work, plan.bank, plan.constants),
        statistics.median(seconds),
        "s",
    )
    return MemoryBank.open(folder / "bank")


def compare_index(plan: Plan, number: int, bank: MemoryBank, seen: Comparison) -> None:
    """The index of a scale, alone on the machine, of a shard a core."""
    index = plan.indexes[number]
    scale = index.scale
    # Scales share the machine in the plan; here each has it for itself.
    alone = make_plan(Workload(**{**vars(plan.work), "scales": (scale,)}), plan.constants).times[0]
    with _timed() as training:
        trained = train(bank, scale, Request())
    # A core a shard, all at the same time, as on a cluster.
    numbers = list(enumerate(shards_of(bank, cores())))
    with ProcessPoolExecutor(cores(), multiprocessing.get_context("spawn")) as pool:
        list(pool.map(time.sleep, [1.0] * cores()))  # all have begun
        with _timed() as adding:
            parts = list(pool.map(_add, *zip(*[(bank.path, scale, *each) for each in numbers], strict=True)))
    with _timed() as auditing:
        manifest = finish(bank, scale, trained, parts)
    seen.add(f"{scale} {manifest.trained.factory}, bytes", index.bytes, manifest.bytes, "bytes")
    seen.add(f"{scale} training", alone.train, training[0], "s")
    seen.add(f"{scale} adding", alone.add, adding[0], "s")
    seen.add(f"{scale} audit", alone.audit, auditing[0], "s")
    retriever = open_retriever(bank, scale, cores())
    queries = bank.vectors(
        scale, np.sort(np.random.default_rng(0).choice(bank.rows(scale), 2000, replace=False))
    )
    retriever.neighbours(queries, 32)
    seconds = []
    for _ in range(REPEATS):
        with _timed() as searching:
            retriever.neighbours(queries, 32)
        seconds.append(searching[0])
    # The audit has tuned how many lists are scanned, which a plan cannot know.
    probes = check_index(bank, scale).nprobe
    tuned = replace(index, spec=replace(index.spec, nprobe=probes))
    predicted = cores() / query_core_seconds(tuned, plan.constants)
    seen.add(f"{scale} queries", predicted, len(queries) / statistics.median(seconds), "1/s")


def _add(bank: Path, scale: Scale, number: int, shards: tuple[int, ...]) -> Part:
    opened = MemoryBank.open(bank)
    with one_thread():
        return add_shard(opened, scale, train(opened, scale, Request()), number, shards)


def compare_steps(made: Plan, bank: MemoryBank, photos: Path, seen: Comparison) -> None:
    """Training steps: the networks alone, then with the pull of all scales."""
    crop = made.work.training.crop
    files = sorted(photos.iterdir())[:2]
    x, y = (
        torch.from_numpy(decode(path)[:crop, :crop].copy()).permute(2, 0, 1)[None] / 127.5 - 1
        for path in files
    )
    step = made.step
    assert step.networks is not None and step.affinity is not None and step.total is not None
    alone = _steps(None, x, y, made.steps)
    seen.add("networks a step", step.networks, statistics.median(alone), "s")
    sources = {scale: RetrievedScale(bank, scale, open_retriever(bank, scale, cores())) for scale in SCALES}
    pull = ContextualPull(sources, make_estimator("sampled"), seed=0)
    retrieving = []
    for number, (scale, source) in enumerate(sources.items()):
        patches = extract(x, scale.size, scale.stride)[0]
        pull.estimator.prepare(patches, source, np.random.default_rng(number))
        seconds = []
        for _ in range(REPEATS):
            with _timed() as taken:
                pull.estimator.prepare(patches, source, np.random.default_rng(number))
            seconds.append(taken[0])
        retrieving.append(statistics.median(seconds))
    seen.add("retrieval a step, one scale after the other", step.retrieval, sum(retrieving), "s")
    full = _steps(pull, x, y, made.steps)
    pull.close()
    # In one process there is no index actor to ask.
    expected = step.total - max(0.0, made.constants["request_seconds"] - 0.8 * step.networks)
    seen.add("whole step", expected, statistics.median(full), "s")
    print(f"a training worker: {worker_bytes(made.work, made.indexes, made.constants) / 1e9:.2f} GB planned")


def _steps(pull: ContextualPull | None, x: torch.Tensor, y: torch.Tensor, count: int) -> list[float]:
    device = torch.device("cpu")
    model = CycleGAN(
        build_networks(Networks(), 0),
        Objective(),
        Schedule(),
        contextual=None if pull is None else (pull, 0.019),
        bfloat16=network_dtype(device) is torch.bfloat16,
    )
    seconds = []
    for number in range(WARM_UPS + count):
        with _timed() as taken:
            float(next(iter(model.step(x, y, number).values())))
        seconds.append(taken[0])
    return seconds[WARM_UPS:]


@contextmanager
def _timed() -> Iterator[list[float]]:
    """A list that holds the seconds once the block has ended."""
    taken: list[float] = []
    began = time.perf_counter()
    yield taken
    taken.append(time.perf_counter() - began)


if __name__ == "__main__":
    main()
