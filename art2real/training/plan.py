"""What a run will be: everything that can be checked and counted before the first step."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from art2real.config.tree import Cluster, TrainingConfig
from art2real.core.estimators import DEFAULT_WEIGHT, Estimator, make_estimator
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.corpus import list_entries
from art2real.errors import UsageError, UserError
from art2real.index.manifest import check_index
from art2real.training.data import steps_per_epoch
from art2real.training.schedule import total_steps
from art2real.training.step import build_networks, trainable


@dataclass(frozen=True)
class Plan:
    """A run's inputs and size."""

    paintings: int
    photos: int
    steps_per_epoch: int
    total_steps: int
    bank: MemoryBank | None
    """None: plain CycleGAN."""
    scales: tuple[Scale, ...]
    index_actors: int
    """Processes that hold the index shards of all these scales."""
    weight: float
    """Of the contextual loss; 0 for plain CycleGAN."""

    @property
    def facts(self) -> dict[str, Any]:
        """For run.json: what the run was trained on."""
        return {
            "paintings": self.paintings,
            "photos": self.photos,
            "total_steps": self.total_steps,
            "contextual_weight": self.weight,
            "scales": [str(scale) for scale in self.scales],
            "bank": None
            if self.bank is None
            else {"path": str(self.bank.path), "identity": self.bank.identity},
        }


def contextual_weight(config: TrainingConfig) -> float:
    """Weight of the contextual loss: 0 without a bank, the estimator's own where none is given."""
    if config.contextual.bank is None:
        return 0.0
    weight = config.contextual.weight
    return DEFAULT_WEIGHT[config.contextual.estimator] if weight is None else weight


def estimator_of(config: TrainingConfig) -> Estimator:
    """The estimator that the configuration names."""
    part = config.contextual
    return make_estimator(
        part.estimator,
        neighbours=part.neighbours,
        draws=part.draws,
        bandwidth=part.bandwidth,
        epsilon=part.epsilon,
        reduction=part.reduction,
    )


def worker_cpus(cluster: Cluster, index_actors: int, cpus: float) -> float:
    """CPUs that each worker claims and computes with, on a node of so many.

    Where the settings leave it open, as many as let all workers and index actors be on one node together:
    more could keep the last worker waiting for a place without end.
    """
    if cluster.cpus_per_worker is not None:
        return cluster.cpus_per_worker
    return max(1, int((cpus - index_actors * cluster.index_cpus) / cluster.workers))


def claimed_cpus(cluster: Cluster, index_actors: int, cores: int) -> float:
    """CPUs that a run on one machine claims at the same time: its workers, which get all of the machine's
    cores where the settings leave it open, and its index actors, which work while the workers wait."""
    index = index_actors * cluster.index_cpus
    return cluster.workers * worker_cpus(cluster, index_actors, cores + index) + index


def plan_run(config: TrainingConfig) -> Plan:
    """Looks at the folders and the bank.

    Raises:
        UserError: a folder without images, a bank that is missing or has no index, a scale that it lacks.
        UsageError: a patch that is larger than the crop, a best checkpoint by a loss that there is not, a
            tracker that is not installed.
    """
    _check_logging(config)
    paintings, photos = (
        len(list_entries(place, anonymous=config.data.anonymous))
        for place in (config.data.paintings, config.data.photos)
    )
    epoch = planned_epoch(config, paintings, photos)
    bank, scales, actors = _bank(config)
    return Plan(
        paintings=paintings,
        photos=photos,
        steps_per_epoch=epoch,
        total_steps=total_steps(config.schedule, epoch),
        bank=bank,
        scales=scales,
        index_actors=actors,
        weight=contextual_weight(config),
    )


def planned_epoch(config: TrainingConfig, paintings: int, photos: int) -> int:
    """Steps of an epoch with all workers."""
    return steps_per_epoch(paintings, photos, config.schedule.batch_size * config.cluster.workers)


def count_parameters(config: TrainingConfig) -> dict[str, int]:
    """Parameters of each network."""
    return {name: trainable([network]) for name, network in build_networks(config.networks, 0).items()}


def _check_logging(config: TrainingConfig) -> None:
    absent = [] if contextual_weight(config) else ["contextual"]
    absent += [] if config.objective.cycle_weight else ["cycle_X", "cycle_Y"]
    if config.logging.best_by in absent:
        raise UsageError(
            f"logging.best_by is {config.logging.best_by}, a loss that the run does not have; "
            "choose objective"
        )
    for package in ("mlflow", "wandb"):
        if getattr(config.logging, package) and importlib.util.find_spec(package) is None:
            raise UsageError(f"logging.{package} needs the package {package}: pip install {package}")


def _bank(config: TrainingConfig) -> tuple[MemoryBank | None, tuple[Scale, ...], int]:
    if config.contextual.bank is None or contextual_weight(config) == 0:
        return None, (), 0
    bank = MemoryBank.open(Path(config.contextual.bank))
    scales = bank.scales
    if config.contextual.scales is not None:
        scales = tuple(Scale.parse(text) for text in config.contextual.scales)
        for scale in scales:
            if scale not in bank.scales:
                raise UserError(
                    f"bank {bank.path} has no scale {scale}, which contextual.scales names; it has "
                    f"{', '.join(map(str, bank.scales))}"
                )
    actors = 0
    for scale in scales:
        if scale.size > config.data.crop_size:
            raise UsageError(
                f"data.crop_size {config.data.crop_size} is smaller than the patches of scale {scale} "
                f"in bank {bank.path}; use a larger crop, or name smaller scales in contextual.scales"
            )
        actors += config.cluster.actors_of(len(check_index(bank, scale).parts))
    return bank, scales, actors
