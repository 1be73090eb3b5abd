"""How many steps a run has, and its learning rate at each of them."""

from __future__ import annotations

from art2real.config.tree import Schedule


def total_steps(schedule: Schedule, steps_per_epoch: int) -> int:
    """Optimiser steps of the whole run."""
    return schedule.max_steps or (schedule.epochs + schedule.decay_epochs) * steps_per_epoch


def learning_rate(schedule: Schedule, step: int, total: int) -> float:
    """The rate of step `step` (from 0) of `total`.

    As published (Zhu et al. 2017, section 4 and their code): full for `epochs` epochs, then falling linearly
    epoch by epoch towards 0 over `decay_epochs`. The run's steps are divided evenly among the epochs, so that
    a run cut to `max_steps` falls over the same share of its steps. Over the first `warmup_steps` steps the
    rate rises linearly to that.
    """
    epoch = step * (schedule.epochs + schedule.decay_epochs) // total
    decayed = max(0, epoch + 1 - schedule.epochs)
    risen = min(1.0, (step + 1) / max(1, schedule.warmup_steps))
    return schedule.learning_rate * risen * max(0.0, 1.0 - decayed / (schedule.decay_epochs + 1))
