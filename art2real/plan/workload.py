"""What a plan is made for: how many photos, which machines, how long a training."""

from __future__ import annotations

from dataclasses import dataclass

from art2real.core.scale import Scale
from art2real.data.manifest import DEFAULT_SCALES
from art2real.errors import UsageError

# More photos than have ever been taken; and what is far beyond it would leave what a float counts exactly.
_MOST = 10**15


@dataclass(frozen=True)
class Prices:
    """What things cost, in any currency; None: not said, and so nothing that costs it is added up."""

    node_hour: float | None = None
    gb_month: float | None = None


@dataclass(frozen=True)
class Machines:
    """The nodes of a cluster, all alike."""

    nodes: int
    cpus: int
    """Of a node."""
    gpus: int
    """Of a node; 0: the networks are trained on its CPUs."""
    memory: int
    """Bytes of a node."""
    network: float
    """Bits a second between two nodes, and between a node and shared storage."""

    def __post_init__(self) -> None:
        for option, value in (("--nodes", self.nodes), ("--cpus", self.cpus), ("--memory", self.memory)):
            if value < 1:
                raise UsageError(f"{option} must be at least 1, got {value}")
        if self.gpus < 0:
            raise UsageError(f"--gpus must be at least 0, got {self.gpus}")
        if not self.network > 0:
            raise UsageError(f"--network must be more than 0 Gbit/s, got {self.network / 1e9:g}")

    @property
    def workers(self) -> int:
        """Training workers: one a GPU, or one a node."""
        return self.nodes * max(self.gpus, 1)


@dataclass(frozen=True)
class Training:
    """A training run with the published networks and the `sampled` estimator."""

    steps: int | None = None
    """None: by the epochs."""
    epochs: int = 200
    paintings: int = 1
    crop: int = 256
    batch: int = 1
    """Images of each domain, a worker and step."""
    neighbours: int = 32
    draws: int = 4096
    width: int = 64
    blocks: int = 9

    def __post_init__(self) -> None:
        for option, value in (
            ("--steps", 1 if self.steps is None else self.steps),
            ("--epochs", self.epochs),
            ("--paintings", self.paintings),
            ("--batch", self.batch),
        ):
            if value < 1:
                raise UsageError(f"{option} must be at least 1, got {value}")
        if self.crop < 32 or self.crop % 4:
            raise UsageError(f"--crop must be at least 32 and divisible by 4, got {self.crop}")

    def total_steps(self, photos: int, workers: int) -> int:
        """Optimiser steps: an epoch is a pass over the larger set of images, by all workers together."""
        if self.steps is not None:
            return self.steps
        return self.epochs * -(-max(self.paintings, photos) // (self.batch * workers))


@dataclass(frozen=True)
class Workload:
    """All that a plan hangs on beside the constants."""

    photos: int
    machines: Machines
    size: int = 256
    """Side of the stored squares, pixels."""
    scales: tuple[Scale, ...] = DEFAULT_SCALES
    photo: tuple[int, int] | None = None
    """Width and height of a photo's file, pixels; None: as the stored squares."""
    factory: str = "auto"
    shards: int | None = None
    """Index shards a scale; None: as many as there are nodes, or more where a node's memory asks for it."""
    replicas: int = 1
    photos_per_shard: int = 256
    """Files that one task of a bank's build turns into shards."""
    training: Training = Training()
    prices: Prices = Prices()

    def __post_init__(self) -> None:
        if not 1 <= self.photos <= _MOST:
            raise UsageError(f"--photos must be between 1 and {_MOST:,}, got {self.photos:,}")
        if not 8 <= self.size <= 8192:
            raise UsageError(f"--size must be between 8 and 8192, got {self.size}")
        if not self.scales:
            raise UsageError("a plan needs at least one --scale")
        if len(set(self.scales)) != len(self.scales):
            raise UsageError("a --scale is given twice")
        for scale in self.scales:
            if scale.size > self.size:
                raise UsageError(
                    f"patches of scale {scale} are larger than the {self.size}-pixel photos; give a larger "
                    "--size or a smaller --scale"
                )
            if scale.size > self.training.crop:
                raise UsageError(f"--crop {self.training.crop} is smaller than the patches of scale {scale}")
        if self.shards is not None and self.shards < 1:
            raise UsageError(f"--shards must be at least 1, got {self.shards}")
        if self.replicas < 1:
            raise UsageError(f"--replicas must be at least 1, got {self.replicas}")
        if self.photo is not None and min(self.photo) < 1:
            raise UsageError(f"--photo-size must be at least 1x1, got {self.photo[0]}x{self.photo[1]}")

    def patches(self, scale: Scale) -> int:
        """Patches of the bank at a scale."""
        return self.photos * per_image(scale, self.size)

    @property
    def source_pixels(self) -> int:
        """Pixels of a photo's file."""
        width, height = self.photo or (self.size, self.size)
        return width * height


def per_image(scale: Scale, side: int) -> int:
    """Patches of a square image."""
    rows, columns = scale.grid(side, side)
    return rows * columns
