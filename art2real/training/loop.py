"""The training loop: data, steps, what is written down, and checkpoints. It knows nothing of Ray."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from art2real.config.tree import TrainingConfig
from art2real.core.estimators import PatchSource
from art2real.core.scale import Scale
from art2real.errors import UserError
from art2real.training.compute import algorithms
from art2real.training.data import UnpairedImages
from art2real.training.parts import make_data, make_model, make_pull
from art2real.training.plan import planned_epoch
from art2real.training.run_folder import RunFolder
from art2real.training.schedule import learning_rate, total_steps
from art2real.training.state import Progress, load_state
from art2real.training.step import CPU
from art2real.training.writer import Report, RunWriter


@dataclass(frozen=True)
class Outcome:
    """How a call of the loop ended."""

    step: int
    """Steps done since the run began."""
    total: int
    """Steps that the whole run has."""


def train_loop(
    config: TrainingConfig,
    run: RunFolder,
    *,
    sources: Mapping[Scale, PatchSource] | None = None,
    report: Report = lambda metrics, checkpoint: None,
    resume_from: Path | None = None,
    rank: int = 0,
    world_size: int = 1,
    device: torch.device = CPU,
    wrap: Callable[[nn.Module], nn.Module] = lambda network: network,
) -> Outcome:
    """Trains until the schedule's end, or until the run folder's signal to stop.

    Args:
        config: the whole configuration.
        run: where statistics, samples and checkpoints go; the first worker writes.
        sources: a memory bank's scales; None or empty, or a weight of 0: plain CycleGAN.
        report: see `Report`.
        resume_from: a checkpoint folder to go on from.
        rank, world_size: this worker, of how many; more than one need an initialised torch.distributed.
        device: where the networks compute.
        wrap: put around each network for several workers.

    Raises:
        UserError: no usable image, a checkpoint that does not fit or cannot be written, a loss that is no
        longer
            finite, or images or real patches that are not to be had any more.
    """
    data = make_data(config, rank, world_size)
    _check_images(data, run)
    pull = make_pull(config, sources, rank)
    model = make_model(config, pull, rank, device, wrap)
    # With fewer workers than planned the run has as many steps, and sees fewer images.
    epoch = planned_epoch(config, len(data.paintings), len(data.photos))
    total = total_steps(config.schedule, epoch)
    begun = Progress(0, 0) if resume_from is None else load_state(resume_from, model, config, rank)
    writer = RunWriter(
        config,
        run,
        model,
        data,
        {} if pull is None else pull.sources,
        report,
        rank=rank,
        world_size=world_size,
        total=total,
    )
    done = begun
    try:
        writer.begin(begun)
        batches = data.batches(begun.images, total - begun.step)
        with algorithms(config.compute, device):
            while done.step < total:
                rate = learning_rate(config.schedule, done.step, total)
                model.set_learning_rate(rate)
                try:
                    paintings, photos = next(batches)
                    computed = model.step(paintings.to(device), photos.to(device), done.step)
                except UserError as error:
                    # Images or real patches that are not to be had any more; no weight was changed yet.
                    raise _rescued(writer, done, error) from None
                losses, norms, stop = _agree(computed, model.gradient_norms, writer.stop_asked(), world_size)
                broken = _broken(losses, norms)
                if broken:  # before a checkpoint can hold what it has made
                    writer.wait()
                    raise _refusal(broken, done.step, run)
                images = done.images + data.per_step
                done = Progress(done.step + 1, images, writer.judge(done, losses))
                writer.after(done, losses, norms, rate, stop)
                if stop:
                    break
        return Outcome(done.step, total)
    finally:
        writer.end()
        if pull is not None:
            pull.close()


def _check_images(data: UnpairedImages, run: RunFolder) -> None:
    """Workers that saw different images would not train the same run, and would wait for each other at its
    end."""
    for stream, key in ((data.paintings, "paintings"), (data.photos, "photos")):
        known = run.facts.get(key, len(stream))
        if known != len(stream):
            raise UserError(
                f"{stream.place}: {len(stream)} images are seen here, but {known} where {run.path} was "
                "planned; every node has to see the same"
            )


def _rescued(writer: RunWriter, done: Progress, error: UserError) -> UserError:
    try:
        kept = writer.rescue(done)
    except OSError as problem:
        return UserError(f"{error}; and the run could not be saved: {problem.strerror or problem}")
    if kept is None:
        return error
    return UserError(
        f"{error}; the {done.step} steps before it are saved in {kept}: --resume goes on from there"
    )


def _agree(
    losses: dict[str, torch.Tensor], norms: dict[str, torch.Tensor], stop: bool, world_size: int
) -> tuple[dict[str, float], dict[str, float], bool]:
    """Means over the workers of the losses and of the gradients' lengths, and whether to stop: the same for
    all of them."""
    some = next(iter(losses.values()))
    values = torch.stack([*losses.values(), *norms.values(), some.new_tensor(float(stop))]).double()
    if world_size > 1:
        dist.all_reduce(values)
    *means, stops = values.tolist()
    means = [mean / world_size for mean in means]
    split = len(losses)
    agreed = dict(zip(losses, means[:split], strict=True)), dict(zip(norms, means[split:], strict=True))
    return *agreed, stops > 0


def _broken(losses: dict[str, float], norms: dict[str, float]) -> list[str]:
    """What is no longer finite, in words: the losses, else the gradients."""
    losses_broken = [
        f"loss {name} became {value}" for name, value in losses.items() if not math.isfinite(value)
    ]
    return losses_broken or [
        f"the gradient of the {name} became {value}"
        for name, value in norms.items()
        if not math.isfinite(value)
    ]


def _refusal(broken: list[str], step: int, run: RunFolder) -> UserError:
    kept = run.checkpoints()
    where = f"the last good checkpoint is {kept[-1][1]}" if kept else "there is no checkpoint yet"
    return UserError(
        f"{', '.join(broken)} at step {step + 1}; {where}. "
        "Try a lower schedule.learning_rate, schedule.clip_norm or precision=float32"
    )
