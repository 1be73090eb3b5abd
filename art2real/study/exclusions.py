"""Whose answers count, by the rule that the design fixed before the first answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from art2real.study.answers import Answer
from art2real.study.design import Design
from art2real.study.judgements import trial_of


@dataclass(frozen=True)
class Taken:
    """How a participant took part, and why their answers do not count."""

    participant: int
    """Number, from 0."""
    answered: int
    """Trials that count, without practice and attention checks."""
    attention_failures: int
    """Attention checks that were answered wrongly."""
    median_ms: float | None
    """Of the reaction times to trials that count; None: none was answered."""
    reasons: tuple[str, ...]
    """In words; empty: the answers count."""

    @property
    def counts(self) -> bool:
        return not self.reasons


def taken(design: Design, answers: Sequence[Answer]) -> list[Taken]:
    """Each participant who gave an answer, by number.

    Raises:
        UserError: an answer is not of this design.
    """
    times: dict[int, list[int]] = {}
    failures: dict[int, int] = {}
    for answer in answers:
        trial = trial_of(design, answer)
        mine = times.setdefault(answer.participant, [])
        if trial.role == "trial":
            mine.append(answer.reaction_ms)
        elif trial.role == "attention" and trial.right is not None:
            wrong = answer.chosen != (trial.first if trial.right == "first" else trial.second).file
            failures[answer.participant] = failures.get(answer.participant, 0) + wrong
    return [_taken(design, number, times[number], failures.get(number, 0)) for number in sorted(times)]


def rule(design: Design) -> str:
    """The rule in words."""
    limits = design.exclusion
    return (
        f"more than {limits.max_attention_failures} of {design.attention_each} attention checks answered "
        f"wrongly, a median reaction time below {limits.min_median_ms} ms, or less than "
        f"{100 * limits.min_answered_share:.0f} % of {design.trials_each} trials answered"
    )


def _taken(design: Design, number: int, times: Sequence[int], failures: int) -> Taken:
    limits, middle = design.exclusion, float(median(times)) if times else None
    reasons = []
    if failures > limits.max_attention_failures:
        reasons.append(
            f"{failures} of {design.attention_each} attention checks answered wrongly "
            f"(at most {limits.max_attention_failures})"
        )
    if middle is not None and middle < limits.min_median_ms:
        reasons.append(f"median reaction time {middle:.0f} ms (at least {limits.min_median_ms})")
    if len(times) < limits.min_answered_share * design.trials_each:
        reasons.append(
            f"{len(times)} of {design.trials_each} trials answered "
            f"(at least {100 * limits.min_answered_share:.0f} %)"
        )
    return Taken(number, len(times), failures, middle, tuple(reasons))
