"""The full state of training, so that N steps, a kill and N more give what 2N steps give.

Random choices are derived from the seed and the step, and the order of the data as well, so that the state is
the networks, their averages, Adam's moments, the image pools and the number of steps done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

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


def save_state(
    folder: Path, model: CycleGAN, step: int, config: TrainingConfig, pools: Sequence[Pools] | None = None
) -> None:
    """Writes the checkpoint after `step` steps; the folder is complete or absent.

    Args:
        pools: the image pools of every worker in order of rank; None: this one alone.
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
        for rank, mine in enumerate([pools_of(model)] if pools is None else pools)
        for domain, images in mine.items()
    }
    record = {
        "step": step,
        "networks": config.networks.model_dump(),
        "config": config.model_dump(mode="json"),
    }
    write_checkpoint(folder, parts, record)


def load_state(folder: Path, model: CycleGAN, config: TrainingConfig, rank: int = 0) -> int:
    """Puts a checkpoint into `model` and returns the number of steps it has seen.

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
    return int(record["step"])


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
                moments[optimiser][place] = kept
    except KeyError as error:
        raise UserError(
            f"{folder}/optimisers.safetensors does not fit its networks at {error}; "
            "use another checkpoint of the run"
        ) from None
    for key, adam in model.optimisers.items():
        adam.load_state_dict({"state": moments[key], "param_groups": adam.state_dict()["param_groups"]})
