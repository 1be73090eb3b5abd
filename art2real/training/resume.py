"""Finding the run to go on with, and refusing what would not be going on."""

from __future__ import annotations

from art2real.config.load import flat
from art2real.config.tree import TrainingConfig
from art2real.errors import UsageError, UserError
from art2real.training.plan import Plan
from art2real.training.run_folder import RunFolder

_MAY_DIFFER = (
    "runs",
    "logging.",
    "cluster.",
    "compute.",
    "data.anonymous",
    "schedule.epochs",
    "schedule.decay_epochs",
    "schedule.max_steps",
)
"""Settings that only say where, how fast and how long: with these changed, a run is still the same run."""

_MUST_STAY = ("cluster.workers",)
"""The schedule counts steps, and how much of the images a step takes hangs on the workers that were planned;
`cluster.min_workers` lets fewer of them go on."""


def resume_run(config: TrainingConfig, plan: Plan) -> RunFolder:
    """The newest run of the configuration's name.

    Raises:
        UserError: there is none, or its bank is not the one that it was begun with.
        UsageError: the configuration differs from the run's in a way that makes it another run.
    """
    run = RunFolder.newest(config)
    before, now = flat(run.config.model_dump()), flat(config.model_dump())
    for key, value in now.items():
        if before[key] != value and (key in _MUST_STAY or not key.startswith(_MAY_DIFFER)):
            raise UsageError(
                f"--resume: {key} is {value}, but {before[key]} in {run.path}/config.yaml; "
                "use the run's value, or start a new run without --resume"
            )
    for key, count in (("paintings", plan.paintings), ("photos", plan.photos)):
        if run.facts.get(key, count) != count:
            raise UserError(
                f"data.{key} has {count} images, but had {run.facts[key]} when {run.path} was begun; "
                "put the old ones back, or start a new run without --resume"
            )
    bank = run.facts.get("bank")
    if plan.bank is not None and bank is not None and bank["identity"] != plan.bank.identity:
        raise UserError(
            f"bank {plan.bank.path} has another content than when {run.path} was begun; "
            "put the old bank back, or start a new run without --resume"
        )
    return run
