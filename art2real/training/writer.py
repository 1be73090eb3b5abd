"""What a run writes down, and when: log lines, pictures and checkpoints."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from art2real.config.tree import TrainingConfig
from art2real.core.estimators import PatchSource
from art2real.core.scale import Scale
from art2real.errors import UserError
from art2real.training.data import UnpairedImages
from art2real.training.run_folder import RunFolder
from art2real.training.samples import grid, retrieved_patches, write_sheet
from art2real.training.saving import CheckpointSaver
from art2real.training.state import Pools, Progress, pools_of, take_snapshot
from art2real.training.step import CycleGAN
from art2real.training.trackers import Tracker, open_trackers
from art2real.translation.checkpoint import is_checkpoint

log = logging.getLogger(__name__)

Report = Callable[[dict[str, Any], Path | None], None]
"""Called by every worker once a checkpoint is written: its step's metrics; its folder on the first worker."""

_SAMPLES = 4
# Asking a shared file system at each step whether to stop would cost more than the answer is worth.
_SECONDS_BETWEEN_LOOKS = 0.5


class RunWriter:
    """Follows the steps of one worker; the first worker (rank 0) writes.

    Args:
        config: the whole configuration.
        run: where everything goes.
        model, data, sources: what is trained, on what, with which scales of a bank.
        report: see `Report`.
        rank, world_size: this worker, of how many.
        total: steps of the whole run.
    """

    def __init__(
        self,
        config: TrainingConfig,
        run: RunFolder,
        model: CycleGAN,
        data: UnpairedImages,
        sources: Mapping[Scale, PatchSource],
        report: Report,
        *,
        rank: int,
        world_size: int,
        total: int,
    ) -> None:
        self._config = config
        self._run = run
        self._model = model
        self._data = data
        self._sources = sources
        self._report = report
        self._rank = rank
        self._world_size = world_size
        self._total = total
        self._paintings = data.sample_paintings(_SAMPLES) if rank == 0 else None
        self._looked = 0.0
        self._since: dict[str, float] = {}
        self._trackers: list[Tracker] = []
        self._saver = CheckpointSaver(run)
        # Of the checkpoint that is being written: the metrics that it is reported with.
        self._unreported: dict[str, Any] | None = None
        # Trackers may wait for servers, so they are told in a thread of their own, in order.
        self._teller = ThreadPoolExecutor(1, thread_name_prefix="trackers")
        self._finished = False

    def begin(self, progress: Progress) -> None:
        """Before the first step of this call."""
        if self._rank == 0:
            self._run.cut_stats(progress.step)
            self._trackers = open_trackers(self._config, self._run, progress.step)
        self._since = {"step": progress.step, "time": time.perf_counter()}

    def end(self) -> None:
        """After the last step of this call, whatever ended it."""
        self._saver.close()
        self._tell(lambda tracker: tracker.close(finished=self._finished))
        self._teller.shutdown(wait=True)

    def stop_asked(self) -> bool:
        """Whether the first worker has seen the signal to stop."""
        now = time.perf_counter()
        if self._rank or now - self._looked < _SECONDS_BETWEEN_LOOKS:
            return False
        self._looked = now
        return self._run.stop_asked

    def after(
        self, progress: Progress, losses: dict[str, float], norms: dict[str, float], rate: float, stop: bool
    ) -> None:
        """After a step: writes what is due, in the order in which a crash does the least harm.

        Raises:
            UserError: the last checkpoint could not be written.
        """
        every = self._config.logging
        step = progress.step
        last = step == self._total
        self._saver.check()
        if self._rank == 0 and (step % every.log_every == 0 or last or stop):
            self._log(progress, losses, norms, rate)
        if self._rank == 0 and (step % every.sample_every == 0 or last):
            self._sample(step)
        if step % every.checkpoint_every == 0 or last or stop:
            self._save(progress, losses)
        if last or stop:
            self._settle()
        self._finished = last

    def wait(self) -> None:
        """Until the last checkpoint is written, whoever writes it."""
        self._saver.wait()
        if self._world_size > 1:
            dist.barrier()

    def judge(self, before: Progress, losses: Mapping[str, float]) -> tuple[float, int]:
        """`Progress.judged` after one more step."""
        total, steps = before.judged
        if before.step % self._config.logging.checkpoint_every == 0:
            total, steps = 0.0, 0
        by = self._config.logging.best_by
        if by is None:
            return 0.0, 0
        value = self._model.objective(losses) if by == "objective" else losses[by]
        return total + value, steps + 1

    def rescue(self, progress: Progress) -> Path | None:
        """Saves the state after the steps that are done, when a later one cannot be; None before the first.

        The image pools of other workers are not in it: they cannot be waited for.
        """
        if progress.step == 0:
            return None
        self._saver.wait()
        folder = self._run.checkpoint_path(progress.step)
        if is_checkpoint(folder):
            return folder
        snapshot = take_snapshot(self._model, progress, self._config, {self._rank: pools_of(self._model)})
        try:
            snapshot.write(folder)
        except OSError:
            if not is_checkpoint(folder):  # another worker, which met the same, may have been first
                raise
        return folder

    def _log(
        self, progress: Progress, losses: dict[str, float], norms: dict[str, float], rate: float
    ) -> None:
        totals = {
            "retrieval_seconds": self._model.retrieval_seconds,
            "retrieval_waited": self._model.retrieval_waited,
            "affinity_seconds": self._model.affinity_seconds,
            "data_waited": self._data.waited,
        }
        now = {"step": progress.step, "time": time.perf_counter(), **totals}
        passed = {key: value - self._since.get(key, 0.0) for key, value in now.items()}
        steps = max(1, passed["step"])
        line = {
            "step": progress.step,
            "epoch": round(self._data.epoch(progress.images), 4),
            "learning_rate": rate,
            "losses": losses,
            "gradient_norms": norms,
            "steps_per_second": round(steps / passed["time"], 4),
            # Seconds a step.
            **{key: round(passed[key] / steps, 4) for key in totals},
            "missing_shard_queries": self._model.missing,
            "left_out": len(self._data.broken),
        }
        self._run.append_stats(line)
        self._tell(lambda tracker: tracker.log(line))
        self._since = now

    def _sample(self, step: int) -> None:
        if self._paintings is None or not len(self._paintings):
            return
        translated = self._model.translate(self._paintings, "G")
        back = self._model.translate(translated, "F")
        pictures = {"samples": grid([self._paintings, translated, back])}
        try:
            if self._sources:
                pictures["retrieved"] = retrieved_patches(translated, self._sources)
        except UserError as error:  # the next step will meet it too, and saves what is there
            log.warning("step %d: no picture of retrieved patches: %s", step, error)
        for name, picture in pictures.items():
            write_sheet(self._run.path / name / f"step-{step:08d}.png", picture)

        def show(tracker: Tracker) -> None:
            for name, picture in pictures.items():
                tracker.show(name, picture, step)

        self._tell(show)

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        """A tracker that fails, because its server is away or for whatever reason, is not told any more."""

        def tell() -> None:
            for tracker in tuple(self._trackers):
                try:
                    what(tracker)
                except Exception as error:
                    self._trackers.remove(tracker)
                    log.warning("%s is not told any more: %s", type(tracker).__name__, error)

        self._teller.submit(tell)

    def _save(self, progress: Progress, losses: dict[str, float]) -> None:
        self._settle()
        pools = _gather_pools(self._model, self._config.data.crop_size, self._rank, self._world_size)
        if self._rank == 0:
            self._saver.begin(progress.step, take_snapshot(self._model, progress, self._config, pools))
        self._unreported = {"step": progress.step, **losses}

    def _settle(self) -> None:
        """Waits until the last checkpoint is written, reports it, and deletes those that are no longer
        kept."""
        if self._unreported is None:
            return
        folder = self._saver.wait()
        self._report(self._unreported, folder)
        if folder is not None:
            log.info("step %d: checkpoint %s", self._unreported["step"], folder)
            self._run.prune(self._config.logging.keep_checkpoints)
        self._unreported = None


def _gather_pools(model: CycleGAN, side: int, rank: int, world_size: int) -> dict[int, Pools]:
    """The pools of all workers by rank, on the first one: images of `side` pixels."""
    mine = pools_of(model)
    if world_size == 1:
        return {0: mine}
    gathered: dict[int, dict[str, torch.Tensor]] = {worker: {} for worker in range(world_size)}
    for domain in model.pools:
        images = mine.get(domain, torch.empty(0, 3, side, side, device=model.device))
        # A worker that joined later has fewer images.
        counts = [torch.zeros(1, dtype=torch.int64, device=model.device) for _ in range(world_size)]
        dist.all_gather(counts, torch.tensor([len(images)], device=model.device))
        most = max(int(count) for count in counts)
        padded = torch.cat([images, images.new_zeros(most - len(images), *images.shape[1:])]).contiguous()
        parts = [torch.empty_like(padded) for _ in range(world_size)] if rank == 0 else None
        dist.gather(padded, parts)
        for worker, part in enumerate(parts or ()):
            if counts[worker]:
                gathered[worker][domain] = part[: int(counts[worker])]
    return dict(gathered)
