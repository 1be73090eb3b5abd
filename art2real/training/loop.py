"""The training loop: data, steps, what is written down, and checkpoints. It knows nothing of Ray."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from art2real.config.tree import TrainingConfig
from art2real.core.estimators import PatchSource
from art2real.core.scale import Scale
from art2real.errors import UserError
from art2real.training.board import Board
from art2real.training.data import UnpairedImages
from art2real.training.parts import make_data, make_model, make_pull
from art2real.training.run_folder import RunFolder
from art2real.training.samples import grid, write_sheet
from art2real.training.schedule import learning_rate, total_steps
from art2real.training.state import Pools, load_state, pools_of, save_state
from art2real.training.step import CPU, CycleGAN

log = logging.getLogger(__name__)

Report = Callable[[dict[str, Any], Path | None], None]
"""Called by every worker at each checkpoint: the metrics of the step, and the folder on the first worker."""

_SAMPLES = 4
# Asking a shared file system at each step whether to stop would cost more than the answer is worth.
_SECONDS_BETWEEN_LOOKS = 0.5


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
        UserError: no usable image, a checkpoint that does not fit, or a loss that is no longer finite.
    """
    data = make_data(config, rank, world_size)
    pull = make_pull(config, sources, rank)
    model = make_model(config, pull, rank, device, wrap)
    total = total_steps(config.schedule, data.steps_per_epoch)
    first = 0 if resume_from is None else load_state(resume_from, model, config, rank)
    writer = _Writer(config, run, model, data, report, rank, world_size, total)
    writer.begin(first)
    try:
        for step, (paintings, photos) in enumerate(data.batches(first, total), first):
            rate = learning_rate(config.schedule, step, total)
            model.set_learning_rate(rate)
            computed = model.step(paintings.to(device), photos.to(device), step)
            losses, norms, stop = _agree(computed, model.gradient_norms, writer.stop_asked(), world_size)
            _refuse_broken(losses, norms, step, run)
            writer.after(step + 1, losses, norms, rate, stop)
            if stop:
                return Outcome(step + 1, total)
        return Outcome(max(first, total), total)
    finally:
        writer.end()
        if pull is not None:
            pull.close()


class _Writer:
    """What the run writes down, and when."""

    def __init__(
        self,
        config: TrainingConfig,
        run: RunFolder,
        model: CycleGAN,
        data: UnpairedImages,
        report: Report,
        rank: int,
        world_size: int,
        total: int,
    ) -> None:
        self._config = config
        self._run = run
        self._model = model
        self._data = data
        self._report = report
        self._rank = rank
        self._world_size = world_size
        self._total = total
        self._paintings = data.sample_paintings(_SAMPLES) if rank == 0 else None
        self._looked = 0.0
        self._since = (0, 0.0, 0.0, 0.0)
        self._board: Board | None = None

    def end(self) -> None:
        """After the last step of this call, whatever ended it."""
        if self._board is not None:
            self._board.close()

    def begin(self, step: int) -> None:
        """Before the first step of this call, which is number `step`."""
        if self._rank == 0:
            self._run.cut_stats(step)
            self._board = Board(self._run.path, step)
        self._since = (step, time.perf_counter(), 0.0, 0.0)

    def stop_asked(self) -> bool:
        """Whether the first worker has seen the signal to stop."""
        now = time.perf_counter()
        if self._rank or now - self._looked < _SECONDS_BETWEEN_LOOKS:
            return False
        self._looked = now
        return self._run.stop_asked

    def after(
        self, step: int, losses: dict[str, float], norms: dict[str, float], rate: float, stop: bool
    ) -> None:
        """After `step` steps: writes what is due, in the order in which a crash does the least harm."""
        every = self._config.logging
        last = step == self._total
        if self._rank == 0 and (step % every.log_every == 0 or last or stop):
            self._log(step, losses, norms, rate)
        if self._rank == 0 and (step % every.sample_every == 0 or last):
            self._sample(step)
        if step % every.checkpoint_every == 0 or last or stop:
            self._save(step, losses)

    def _log(self, step: int, losses: dict[str, float], norms: dict[str, float], rate: float) -> None:
        now = time.perf_counter()
        before, then, retrieved, waited = self._since
        steps = max(1, step - before)
        line = {
            "step": step,
            "epoch": round(step / self._data.steps_per_epoch, 4),
            "learning_rate": rate,
            "losses": losses,
            "gradient_norms": norms,
            "steps_per_second": round(steps / (now - then), 4),
            "retrieval_seconds": round((self._model.retrieval_seconds - retrieved) / steps, 4),
            "retrieval_waited": round((self._model.retrieval_waited - waited) / steps, 4),
            "missing_shard_queries": self._model.missing,
            "left_out": len(self._data.broken),
        }
        self._run.append_stats(line)
        if self._board is not None:
            self._board.log(line)
        self._since = (step, now, self._model.retrieval_seconds, self._model.retrieval_waited)

    def _sample(self, step: int) -> None:
        if self._paintings is None or not len(self._paintings):
            return
        translated = self._model.translate(self._paintings, "G")
        back = self._model.translate(translated, "F")
        sheet = grid([self._paintings, translated, back])
        write_sheet(self._run.path / "samples" / f"step-{step:08d}.png", sheet)
        if self._board is not None:
            self._board.show("samples", sheet, step)

    def _save(self, step: int, losses: dict[str, float]) -> None:
        pools = _gather_pools(self._model, self._rank, self._world_size)
        folder = None
        if self._rank == 0:
            folder = self._run.checkpoint_path(step)
            save_state(folder, self._model, step, self._config, pools)
        self._report({"step": step, **losses}, folder)
        if self._rank == 0:
            self._run.prune(self._config.logging.keep_checkpoints)
            log.info("step %d: checkpoint %s", step, folder)


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


def _refuse_broken(losses: dict[str, float], norms: dict[str, float], step: int, run: RunFolder) -> None:
    """Ends the run before a checkpoint can hold what a loss or a gradient that is not finite has made."""
    broken = [f"loss {name} became {value}" for name, value in losses.items() if not math.isfinite(value)]
    broken = broken or [
        f"the gradient of the {name} became {value}"
        for name, value in norms.items()
        if not math.isfinite(value)
    ]
    if broken:
        kept = run.checkpoints()
        where = f"the last good checkpoint is {kept[-1][1]}" if kept else "there is no checkpoint yet"
        raise UserError(
            f"{', '.join(broken)} at step {step + 1}; {where}. "
            "Try a lower schedule.learning_rate, schedule.clip_norm or precision=float32"
        )


def _gather_pools(model: CycleGAN, rank: int, world_size: int) -> list[Pools] | None:
    """The pools of all workers, on the first one."""
    mine = pools_of(model)
    if world_size == 1:
        return [mine]
    gathered: list[dict[str, torch.Tensor]] = [{} for _ in range(world_size)]
    # All workers have seen as many images, so their pools have one shape.
    for domain, images in mine.items():
        parts = [torch.empty_like(images) for _ in range(world_size)] if rank == 0 else None
        dist.gather(images.contiguous(), parts)
        for place, part in zip(gathered, parts or (), strict=False):
            place[domain] = part
    return list(gathered)
