"""The full state of training, so that N steps, a kill and N more give what 2N steps give.

Random choices are derived from the seed and the step, and the order of the data as well, so that the state is
the networks, their averages, Adam's moments, the image pools and the numbers of steps done and of images
seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from art2real.config.tree import TrainingConfig
from art2real.errors import UserError
from art2real.training.step import OPTIMISED, CycleGAN
from art2real.translation.checkpoint import (
    average_name,
    load_weights,
    network_sizes,
    read_part,
    read_record,
    write_checkpoint,
)

Pools = Mapping[str, torch.Tensor]
"""Domain -> images of its pool, `[n, 3, H, W]`; a pool that is still empty is left out."""


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    step: int
    """Steps done."""
    images: int
    """Images of each domain that they took, over all workers."""
    judged: tuple[float, int] = (0.0, 0)
    """Sum and number of the values of `logging.best_by` at the steps since a checkpoint was last judged."""


@dataclass(frozen=True)
class Snapshot:
    """The state at one moment, on the CPU: training may go on while it is written."""

    parts: Mapping[str, Mapping[str, torch.Tensor]]
    record: Mapping[str, Any]

    def write(self, folder: Path) -> None:
        """Writes it as a checkpoint; the folder is complete or absent."""
        write_checkpoint(folder, self.parts, self.record)


def take_snapshot(
    model: CycleGAN, progress: Progress, config: TrainingConfig, pools: Mapping[int, Pools] | None = None
) -> Snapshot:
    """Copies the state.

    Args:
        pools: by rank, the image pools of every worker that is known of; None: this one alone.
    """
    parts: dict[str, Mapping[str, torch.Tensor]] = {
        name: network.state_dict() for name, network in model.networks.items()
    }
    parts |= {average_name(name): average.state_dict() for name, average in model.averages.items()}
    parts["optimisers"] = {
        f"{name}.{key}": value
        for optimiser, _, name, weight in _weights(model)
        for key, value in model.optimisers[optimiser].state.get(weight, {}).items()
    }
    parts["pools"] = {
        f"{rank}.{domain}": images
        for rank, mine in ({0: pools_of(model)} if pools is None else pools).items()
        for domain, images in mine.items()
    }
    record = {
        "step": progress.step,
        "images": progress.images,
        "judged": {"by": config.logging.best_by, "sum": progress.judged[0], "steps": progress.judged[1]},
        "networks": config.networks.model_dump(),
        "config": config.model_dump(mode="json"),
    }
    return Snapshot(
        {
            part: {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}
            for part, tensors in parts.items()
        },
        record,
    )


def load_state(folder: Path, model: CycleGAN, config: TrainingConfig, rank: int = 0) -> Progress:
    """Puts a checkpoint into `model` and returns how far it had come.

    Raises:
        UserError: the checkpoint is missing, damaged, or of networks of other sizes.
    """
    record = read_record(folder)
    sizes = network_sizes(folder, record)
    if sizes != config.networks:
        differing = [
            f"networks.{key} is {value}, here {getattr(config.networks, key)}"
            for key, value in sizes.model_dump().items()
            if value != getattr(config.networks, key)
        ]
        raise UserError(
            f"checkpoint {folder} has networks of another size ({'; '.join(differing)}); use its sizes"
        )
    for name, network in model.networks.items():
        load_weights(network, read_part(folder, record, name), folder, name)
    for name, average in model.averages.items():
        name = average_name(name)
        load_weights(average, read_part(folder, record, name), folder, name)
    _load_optimisers(folder, model, read_part(folder, record, "optimisers"))
    pools = read_part(folder, record, "pools")
    for domain, pool in model.pools.items():
        # A worker more than the checkpoint knows starts with an empty pool.
        pool.images = pools.get(f"{rank}.{domain}", pool.images[:0]).to(model.device)
    per_step = config.schedule.batch_size * config.cluster.workers
    judged = record.get("judged", {})
    same = judged.get("by") == config.logging.best_by
    return Progress(
        int(record["step"]),
        int(record.get("images", record["step"] * per_step)),
        (judged["sum"], judged["steps"]) if same else (0.0, 0),
    )


def pools_of(model: CycleGAN) -> Pools:
    """The image pools of this worker."""
    return {domain: pool.images for domain, pool in model.pools.items() if len(pool.images)}


def _weights(model: CycleGAN) -> list[tuple[str, int, str, torch.nn.Parameter]]:
    """Optimiser, place in it, full name and tensor of every weight."""
    found = []
    for optimiser, parts in OPTIMISED.items():
        named = [
            (f"{part}.{name}", weight)
            for part in parts
            for name, weight in model.networks[part].named_parameters()
        ]
        found += [(optimiser, place, name, weight) for place, (name, weight) in enumerate(named)]
    return found


def _load_optimisers(folder: Path, model: CycleGAN, tensors: dict[str, torch.Tensor]) -> None:
    moments: dict[str, dict[int, dict[str, torch.Tensor]]] = {name: {} for name in model.optimisers}
    try:
        for optimiser, place, name, weight in _weights(model):
            if f"{name}.step" in tensors:  # absent where the checkpoint is of step 0
                kept = {key: tensors[f"{name}.{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}
                if kept["exp_avg"].shape != weight.shape or kept["exp_avg_sq"].shape != weight.shape:
                    raise KeyError(name)
                # In the weights' own layout, which Adam's fused form reads them in.
                for key in ("exp_avg", "exp_avg_sq"):
                    kept[key] = torch.empty_like(weight, requires_grad=False).copy_(kept[key])
                moments[optimiser][place] = kept
    except KeyError as error:
        raise UserError(
            f"{folder}/optimisers.safetensors does not fit its networks at {error}; "
            "use another checkpoint of the run"
        ) from None
    for key, adam in model.optimisers.items():
        adam.load_state_dict({"state": moments[key], "param_groups": adam.state_dict()["param_groups"]})
