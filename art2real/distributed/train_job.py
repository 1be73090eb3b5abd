"""Training on a Ray cluster: Ray Train workers that query index actors.

The work itself is `art2real.training.loop.train_loop`; this module places it. The run folder must be visible
from all nodes under one path (a shared file system on several machines), and so must the images and the bank.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
from ray.train import Checkpoint, CheckpointUploadMode, FailureConfig, RunConfig, ScalingConfig
from ray.train.collective import broadcast_from_rank_zero

from art2real.config.tree import TrainingConfig
from art2real.core.estimators import PatchSource
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.sources.places import is_local, local_path
from art2real.distributed.cluster import largest_node_cpus
from art2real.distributed.index_actors import IndexActors, open_actor_retriever, start_index_actors
from art2real.distributed.room import workers_use_gpus
from art2real.errors import UserError
from art2real.index.source import RetrievedScale
from art2real.plan.constants import read_constants
from art2real.training.loop import Outcome, train_loop
from art2real.training.plan import Plan, worker_cpus
from art2real.training.run_folder import RunFolder

log = logging.getLogger(__name__)

OnProgress = Callable[[int, int, dict[str, float]], None]

_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class TrainingResult:
    """How a call of `run_training` ended."""

    step: int
    """Steps done since the run began."""
    total: int
    """Steps that the whole run has; `step` is less where the run was stopped."""
    checkpoint: Path
    """The newest checkpoint."""
    seconds: float

    @property
    def finished(self) -> bool:
        return self.step >= self.total


@dataclass(frozen=True)
class _Assignment:
    """What every worker is told."""

    config: TrainingConfig
    run: RunFolder
    scales: tuple[Scale, ...]
    actors: IndexActors | None
    cpus: float


def run_training(
    config: TrainingConfig,
    run: RunFolder,
    plan: Plan,
    *,
    on_progress: OnProgress = lambda step, total, losses: None,
    on_interrupt: Callable[[], None] = lambda: None,
) -> TrainingResult:
    """Trains on the cluster that this process is connected to, from the run's newest checkpoint if any.

    A worker that dies is replaced, and the group goes on from the last checkpoint. The first Ctrl-C (in the
    main thread) lets the workers save a checkpoint and end; the second one ends at once.

    Args:
        config: the whole configuration; relative paths are relative to this process's working folder.
        run: the run's folder, of `RunFolder.create` or `RunFolder.newest`.
        plan: of `plan_run` for the same configuration.
        on_progress: called with steps done, all steps and the newest losses, as they are logged.
        on_interrupt: called at the first Ctrl-C.

    Raises:
        UserError: the bank's index cannot be served, a loss broke, or the workers failed too often.
    """
    begun = time.perf_counter()
    run.newest_whole()  # what is damaged is told here, where the user reads it
    kept = run.checkpoints()
    run.cut_stats(kept[-1][0] if kept else 0)  # what is done again is not progress yet
    run.clear_signals()
    actors = None
    try:
        actors = _start_actors(config, plan)
        assignment = _Assignment(
            config=_absolute(config),
            run=run,
            scales=plan.scales,
            actors=actors,
            cpus=worker_cpus(config.cluster, plan.index_actors, largest_node_cpus()),
        )
        outcome = _fit(_trainer(assignment), run, plan.total_steps, on_progress, on_interrupt)
    except BaseException:
        run.discard_if_empty()
        raise
    finally:
        if actors is not None:
            actors.stop()
    if outcome.step >= outcome.total:
        run.finish(outcome.step)
    return TrainingResult(outcome.step, outcome.total, run.checkpoints()[-1][1], time.perf_counter() - begun)


def _start_actors(config: TrainingConfig, plan: Plan) -> IndexActors | None:
    if plan.bank is None:
        return None
    constants = read_constants()
    pixels = config.schedule.batch_size * config.data.crop_size**2
    worker = constants["worker_bytes"] + pixels * constants["worker_pixel_bytes"]
    return start_index_actors(plan.bank.path.absolute(), plan.scales, config.cluster, round(worker))


def _absolute(config: TrainingConfig) -> TrainingConfig:
    """Workers run in folders of their own, so relative paths would mean something else to them."""
    values = config.model_dump()
    for part, key in (("data", "paintings"), ("data", "photos"), ("contextual", "bank")):
        place = values[part][key]
        if place is not None and is_local(place):
            values[part][key] = str(Path(local_path(place)).absolute())
    return TrainingConfig.model_validate(values)


def _trainer(assignment: _Assignment) -> ray.train.torch.TorchTrainer:
    cluster = assignment.config.cluster
    gpus = ray.cluster_resources().get("GPU", 0)
    storage = assignment.run.checkpoint_folder
    storage.mkdir(exist_ok=True)
    # Ray's own list of checkpoints. The run folder knows better which there are: a list that names one which
    # was deleted since would keep the run from starting.
    (storage / "checkpoint_manager_snapshot.json").unlink(missing_ok=True)
    workers = cluster.workers if cluster.min_workers is None else (cluster.min_workers, cluster.workers)
    return ray.train.torch.TorchTrainer(
        _work,
        train_loop_config={"assignment": assignment},
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=workers_use_gpus(cluster, gpus),
            resources_per_worker={"CPU": assignment.cpus},
        ),
        run_config=RunConfig(
            storage_path=str(storage.parent),
            name=storage.name,
            failure_config=FailureConfig(max_failures=cluster.max_failures),
        ),
    )


def _fit(
    trainer: ray.train.torch.TorchTrainer,
    run: RunFolder,
    total: int,
    on_progress: OnProgress,
    on_interrupt: Callable[[], None],
) -> Outcome:
    """Waits for the trainer in a thread of its own: in the main one, it would take Ctrl-C for itself and end
    the workers without a checkpoint."""
    ended: dict[str, Any] = {}
    done = threading.Event()

    def fit() -> None:
        try:
            ended["outcome"] = trainer.fit().return_value
        except BaseException as error:
            ended["error"] = error
        finally:
            done.set()

    def wait() -> None:
        seen, over, warned = None, False, len(run.warnings())
        while not over:
            # Not Thread.join: up to Python 3.12 a Ctrl-C in it makes the thread look as if it had ended.
            over = done.wait(_SECONDS_BETWEEN_LOOKS)
            for warning in run.warnings()[warned:]:
                log.warning("%s", warning)
                warned += 1
            line = run.last_stats()
            if line is not None and line["step"] != seen:
                seen = line["step"]
                on_progress(seen, total, line["losses"])

    threading.Thread(target=fit, name="ray-train", daemon=True).start()
    try:
        wait()
    except KeyboardInterrupt:
        run.ask_to_stop()
        on_interrupt()
        wait()
    failure = run.failure
    if failure is not None:
        raise UserError(failure)
    if "error" in ended:
        raise UserError(_explain(ended["error"], run)) from ended["error"]
    outcome = ended["outcome"]
    assert isinstance(outcome, Outcome)
    return outcome


def _explain(error: BaseException, run: RunFolder) -> str:
    failures = getattr(error, "worker_failures", None) or {0: getattr(error, "controller_failure", error)}
    rank, cause = next(iter(failures.items()))
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    what = lines[-1] if lines else type(cause).__name__
    next_step = (
        "--resume goes on from the last checkpoint" if run.checkpoints() else "no checkpoint was written"
    )
    return f"training in {run.path} failed, worker {rank}: {what}; {next_step}"


def _work(settings: dict[str, Any]) -> Outcome | None:
    """What each worker process runs. None: the reason lies in the run folder."""
    assignment: _Assignment = settings["assignment"]
    config, run = assignment.config, assignment.run
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    if not (run.path / "config.yaml").is_file():
        raise UserError(
            f"{run.path} is not visible on every node; set `runs` to a folder on a shared file system"
        )
    if run.failure is not None:
        return None  # left by a worker of the group before this one: the same would happen again
    torch.set_num_threads(max(1, int(assignment.cpus)))
    # The user reads what the driver says; it reads this file.
    handler = logging.FileHandler(run.warnings_file, encoding="utf-8", delay=True)
    handler.setLevel(logging.WARNING)
    logging.getLogger("art2real").addHandler(handler)
    device = ray.train.torch.get_device()
    try:
        return train_loop(
            config,
            run,
            sources=_sources(assignment, device),
            report=_report,
            resume_from=_newest(run, rank),
            rank=rank,
            world_size=world_size,
            device=device,
            wrap=ray.train.torch.prepare_model,
        )
    except UserError as error:
        run.fail(str(error))
        if world_size > 1:
            raise  # the others may be waiting for this one
        return None


def _newest(run: RunFolder, rank: int) -> Path | None:
    """The checkpoint to go on from. The first worker says which: others may not see it in a listing yet.

    Ray knows of a checkpoint only when the next one is begun, and does not look whether it is damaged.
    """
    folder = run.newest_whole() if rank == 0 else None
    name = broadcast_from_rank_zero(None if folder is None else folder.name)
    return None if name is None else run.checkpoint_folder / name


def _sources(assignment: _Assignment, device: torch.device) -> dict[Scale, PatchSource]:
    if assignment.actors is None or assignment.config.contextual.bank is None:
        return {}
    bank = MemoryBank.open(Path(assignment.config.contextual.bank))
    return {
        scale: RetrievedScale(bank, scale, open_actor_retriever(bank, scale, assignment.actors), device)
        for scale in assignment.scales
    }


def _report(metrics: dict[str, Any], folder: Path | None) -> None:
    # The folder was written, whole, where Ray would copy it to: there is nothing to upload.
    ray.train.report(
        metrics,
        checkpoint=None if folder is None else Checkpoint.from_directory(str(folder)),
        checkpoint_dir_name=f"step-{metrics['step']:08d}",
        checkpoint_upload_mode=CheckpointUploadMode.NO_UPLOAD,
    )
