"""The plan of a workload: all figures together, for `art2real-cli plan` and for tables."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from art2real.plan.bank_size import BankSize, bank_size
from art2real.plan.constants import Constants
from art2real.plan.index_size import ScaleIndex, Verdict, held_bytes, plan_indexes, verdicts
from art2real.plan.model import (
    IndexTime,
    StepTime,
    Wire,
    bank_seconds,
    index_seconds,
    index_time,
    step_time,
    wire,
    worker_bytes,
)
from art2real.plan.workload import Workload

# A figure is called extrapolated where a workload has this many times what was measured.
_FAR = 16


@dataclass(frozen=True)
class Money:
    """What is paid, as far as prices were given; None: no price."""

    nodes: float | None
    """Of all nodes for the time of building and training."""
    disk_month: float | None


@dataclass(frozen=True)
class Plan:
    """All figures of a workload."""

    work: Workload
    bank: BankSize
    indexes: list[ScaleIndex]
    times: list[IndexTime]
    bank_seconds: float
    index_seconds: float
    steps: int
    step: StepTime
    wire: Wire
    worker_bytes: int
    held_bytes: int
    verdicts: list[Verdict]
    money: Money
    advice: list[str]
    extrapolated: list[str]
    constants: Constants

    @property
    def fits(self) -> bool:
        return all(each.fits for each in self.verdicts)

    @property
    def index_bytes(self) -> int:
        return sum(index.bytes for index in self.indexes)

    @property
    def disk_bytes(self) -> int:
        """Bank and index."""
        return self.bank.bytes + self.index_bytes

    @property
    def training_seconds(self) -> float | None:
        return None if self.step.total is None else self.steps * self.step.total

    @property
    def seconds(self) -> float | None:
        """Bank, index and training, one after the other."""
        training = self.training_seconds
        return None if training is None else self.bank_seconds + self.index_seconds + training

    def queries_per_second(self, number: int) -> float:
        """Of scale `number`, by all nodes together, without re-ranking: an image's worth at a time."""
        machines = self.work.machines
        cores = min(machines.cpus * machines.nodes, max(machines.cpus, self.indexes[number].shards))
        return cores / self.times[number].query

    def summary(self) -> dict[str, Any]:
        """For `--json`: bytes and seconds."""
        work, step = self.work, self.step
        return {
            "photos": work.photos,
            "size": work.size,
            "machines": asdict(work.machines),
            "bank": {**asdict(self.bank), "bytes": self.bank.bytes, "seconds": self.bank_seconds},
            "index": [
                {
                    "size": index.scale.size,
                    "stride": index.scale.stride,
                    "rows": index.rows,
                    "factory": index.spec.factory,
                    "nprobe": index.spec.nprobe,
                    "candidates": dict(index.candidates),
                    "shards": index.shards,
                    "bytes": index.bytes,
                    "shard_bytes": index.shard_bytes,
                    "memory": asdict(index.memory),
                    "train_seconds": time.train,
                    "add_seconds": time.add,
                    "audit_seconds": time.audit,
                    "queries_per_second": self.queries_per_second(number),
                }
                for number, (index, time) in enumerate(zip(self.indexes, self.times, strict=True))
            ],
            "index_bytes": self.index_bytes,
            "index_seconds": self.index_seconds,
            "memory": {
                "worker_bytes": self.worker_bytes,
                "held_bytes": self.held_bytes,
                "fits": self.fits,
                "verdicts": [
                    {
                        "what": each.what,
                        "bytes": each.bytes,
                        "room": each.room,
                        "fits": each.fits,
                        "text": str(each),
                    }
                    for each in self.verdicts
                ],
            },
            "training": {
                "steps": self.steps,
                "workers": work.machines.workers,
                "step": asdict(step),
                "seconds": self.training_seconds,
                "wire": {**asdict(self.wire), "bytes": self.wire.bytes},
            },
            "disk_bytes": self.disk_bytes,
            "seconds": self.seconds,
            "money": asdict(self.money),
            "advice": self.advice,
            "extrapolated": self.extrapolated,
            "constants": self.constants.summary(),
        }


def make_plan(work: Workload, constants: Constants) -> Plan:
    """The plan of a workload.

    Raises:
        UsageError: FAISS has no such index type. UserError: it needs more patches than there are.
    """
    bank = bank_size(work.photos, work.size, work.scales, work.photos_per_shard)
    indexes = plan_indexes(work)
    step = step_time(work, indexes, constants)
    steps = work.training.total_steps(work.photos, work.machines.workers)
    of_bank = bank_seconds(work, bank, constants)
    of_index = index_seconds(work, indexes, constants)
    worker = worker_bytes(work, indexes, constants)
    seconds = None if step.total is None else of_bank + of_index + steps * step.total
    disk = bank.bytes + sum(index.bytes for index in indexes)
    return Plan(
        work=work,
        bank=bank,
        indexes=indexes,
        times=[index_time(work, index, constants) for index in indexes],
        bank_seconds=of_bank,
        index_seconds=of_index,
        steps=steps,
        step=step,
        wire=wire(work, indexes, constants),
        worker_bytes=worker,
        held_bytes=held_bytes(work, indexes),
        verdicts=verdicts(work, indexes, worker),
        money=_money(work, seconds, disk),
        advice=_advice(work, bank, indexes),
        extrapolated=_extrapolated(work, indexes, constants),
        constants=constants,
    )


def _money(work: Workload, seconds: float | None, disk: int) -> Money:
    prices, nodes = work.prices, work.machines.nodes
    hours = None if seconds is None or prices.node_hour is None else nodes * seconds / 3600 * prices.node_hour
    month = None if prices.gb_month is None else disk / 1e9 * prices.gb_month
    return Money(hours, month)


def _advice(work: Workload, bank: BankSize, indexes: list[ScaleIndex]) -> list[str]:
    """What the stages have to be told for this plan to be theirs."""
    found = []
    total = sum(index.bytes for index in indexes)
    if work.factory == "auto" and total > work.machines.memory // 2:
        found.append(
            f"build-index takes half of one node's memory for all indexes unless told otherwise: give it "
            f"--memory {-(-total // 10**9)}GB"
        )
    shards = max(index.shards for index in indexes)
    if shards > 1:
        found.append(f"give build-index --shards {shards}")
    cores = work.machines.nodes * work.machines.cpus
    if shards < min(cores // len(indexes), bank.shards):
        found.append(
            f"rows are added by a core a shard, {shards * len(indexes):,} of {cores:,} here: more --shards "
            "build sooner, and make queries slower"
        )
    return found


def _extrapolated(work: Workload, indexes: list[ScaleIndex], constants: Constants) -> list[str]:
    """Which figures hang on sizes far beyond what was measured."""
    measured, machines = constants.measured, work.machines
    rows = max(index.rows for index in indexes)
    lists = max(index.shape.lists for index in indexes)
    cores = machines.cpus * machines.nodes
    sizes = [
        ("index times and queries", "rows", rows, measured.rows),
        ("index training and expected shares", "lists", lists, measured.lists),
        ("all times", "cores", cores, measured.cores),
        ("training time", "pixels of a crop", work.training.crop**2, measured.crop**2),
        ("bank time", "pixels of a photo", work.source_pixels, measured.source_pixels),
    ]
    found = [
        f"{what}: {there:,} {unit}, measured with {known:,}"
        for what, unit, there, known in sizes
        if there > _FAR * known
    ]
    if machines.nodes > 1:
        found.append("bytes on the wire and what they take: counted, measured on one machine only")
    return found
