"""`art2real-cli train`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from art2real.cli.common import (
    address_option,
    counted,
    emit,
    human_bytes,
    human_seconds,
    json_option,
    progress,
)

if TYPE_CHECKING:
    from art2real.config.tree import TrainingConfig
    from art2real.training.plan import Plan
    from art2real.training.run_folder import RunFolder

_INTERRUPTED = 130


@click.command()
@click.option(
    "--config",
    "config_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    required=True,
    help="YAML file with the run's settings.",
)
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change a setting, for example schedule.max_steps=500. May be repeated.",
)
@click.option(
    "--resume", is_flag=True, help="Go on with the newest run of that name from its last checkpoint."
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check everything, try a few steps, and say what would be done and how long it takes.",
)
@address_option
@json_option
def command(
    config_path: Path,
    overrides: tuple[str, ...],
    resume: bool,
    dry_run: bool,
    address: str | None,
    as_json: bool,
) -> int:
    """Train a translation from paintings to photos.

    The run goes into RUNS/NNNN-NAME. Ctrl-C saves a checkpoint and ends; --resume goes on from there.
    """
    from art2real.config.load import load_config
    from art2real.training.plan import plan_run
    from art2real.training.resume import resume_run

    config = load_config(config_path, overrides)
    plan = plan_run(config)
    run = resume_run(config, plan) if resume else None
    if dry_run:
        _say_plan(config, plan, run, as_json)
        return 0
    if run is not None and run.finished is not None and run.finished >= plan.total_steps:
        emit(
            {"run": str(run.path), "step": run.finished, "total_steps": plan.total_steps, "finished": True},
            as_json,
            f"{run.path} is already finished: {run.finished} of {plan.total_steps} steps are done",
        )
        return 0
    again = ["train", "--config", str(config_path), *(part for text in overrides for part in ("--set", text))]
    return _train(config, plan, run, address, as_json, shlex.join(["art2real-cli", *again, "--resume"]))


def _train(
    config: TrainingConfig, plan: Plan, run: RunFolder | None, address: str | None, as_json: bool, again: str
) -> int:
    from art2real.distributed.cluster import cores, session
    from art2real.training.plan import claimed_cpus
    from art2real.training.run_folder import RunFolder

    cpus = claimed_cpus(config.cluster, plan.index_actors, cores())
    with session(address, cpus=cpus), progress(plan.total_steps, "steps") as bar:
        # Ray reads how it authenticates when it is imported, and the session decides that.
        from art2real.distributed.train_job import run_training

        if run is None:
            run = RunFolder.create(config, plan.facts)
        click.echo(f"run folder: {run.path}", err=True)
        result = run_training(
            config,
            run,
            plan,
            on_progress=lambda step, total, losses: bar.update(step, total, _shortly(losses)),
            on_interrupt=lambda: click.echo(
                "saving a checkpoint, then ending; press Ctrl-C again to end at once", err=True
            ),
        )
    data = {
        "run": str(run.path),
        "step": result.step,
        "total_steps": result.total,
        "finished": result.finished,
        "checkpoint": str(result.checkpoint),
        "seconds": round(result.seconds, 1),
    }
    if result.finished:
        emit(data, as_json, f"{run.path}: {result.step} steps done; checkpoint {result.checkpoint}")
        return 0
    text = f"stopped at step {result.step} of {result.total}; go on with: {again}"
    emit(data, as_json, text)
    return _INTERRUPTED


def _shortly(losses: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3g}" for name, value in losses.items() if name in _SHOWN)


_SHOWN = ("adversarial_G", "cycle_X", "contextual", "D_Y")


def _say_plan(config: TrainingConfig, plan: Plan, run: RunFolder | None, as_json: bool) -> None:
    import torch

    from art2real.distributed.cluster import cores
    from art2real.training.plan import count_parameters, worker_cpus
    from art2real.training.trial import try_steps

    parameters = count_parameters(config)
    begun = 0 if run is None or not run.checkpoints() else run.checkpoints()[-1][0]
    threads = max(1, int(worker_cpus(config.cluster, 0, cores())))
    click.echo("trying a few steps", err=True)
    on_gpu = config.cluster.use_gpu is not False and torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    trial = try_steps(config, plan, threads=threads, device=device)
    expected = trial.seconds * max(0, plan.total_steps - begun)
    data: dict[str, Any] = {
        **plan.facts,
        "steps_per_epoch": plan.steps_per_epoch,
        "steps_done": begun,
        "parameters": parameters,
        "workers": config.cluster.workers,
        "index_actors": plan.index_actors,
        "run": None if run is None else str(run.path),
        "seconds_per_step": round(trial.seconds, 4),
        "expected_seconds": round(expected),
        "worker_bytes": trial.bytes,
        "gpu_bytes": trial.gpu_bytes,
    }
    lines = [
        f"paintings   {plan.paintings} in {config.data.paintings}",
        f"photos      {plan.photos} in {config.data.photos}",
        f"steps       {plan.total_steps} ({plan.steps_per_epoch} an epoch), {begun} of them done",
        f"parameters  {sum(parameters.values()):,} "
        f"({', '.join(f'{name} {count:,}' for name, count in parameters.items())})",
        f"workers     {config.cluster.workers}, {config.schedule.batch_size} images of each domain a step",
        "contextual  none: plain CycleGAN"
        if plan.bank is None
        else f"contextual  {config.contextual.estimator} at weight {plan.weight:g}, scales "
        f"{', '.join(map(str, plan.scales))}, {plan.index_actors} index actors of {plan.bank.path}",
        f"a step      {trial.seconds:.3g} s here with {counted(threads, 'thread')}; "
        f"about {human_seconds(expected)} for the steps that are left",
        f"memory      {human_bytes(trial.bytes)} of a process that trains and holds the whole index"
        + (f", {human_bytes(trial.gpu_bytes)} of the GPU" if on_gpu else ""),
    ]
    emit(data, as_json, "\n".join(lines))
