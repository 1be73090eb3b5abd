"""What the administrator sees: how far the participants are, and all answers as a table.

Which system is preferred is not shown while a study runs: who sees it may be led to stop where it pleases.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Any

from art2real.study.answers import Answer, Participant
from art2real.study.design import Design, Trial

COLUMNS = (
    "participant",
    "language",
    "position",
    "role",
    "trial",
    "item",
    "size",
    "choice",
    "chosen_file",
    "chosen_system",
    "other_system",
    "right",
    "reaction_ms",
    "shown_percent",
    "pixel_ratio",
    "received",
)
_ROWS_SHOWN = 500


def progress(
    design: Design, answers: Sequence[Answer], participants: Sequence[Participant]
) -> dict[str, Any]:
    """Counts over all participants, and a line for each of the newest."""
    trials = {trial.id: trial for trial in design.trials}
    own: dict[int, list[Answer]] = defaultdict(list)
    for answer in answers:
        own[answer.participant].append(answer)
    lines = [_line(person, own[person.number], trials) for person in participants]
    allowed = design.exclusion.max_attention_failures
    return {
        "kind": design.kind,
        "positions": design.practice_each + design.trials_each + design.attention_each,
        "enrolled": len(participants),
        "consented": sum(person.consented is not None for person in participants),
        "finished": sum(person.finished is not None for person in participants),
        "answers": len(answers),
        "median_ms": _median(a.reaction_ms for a in answers if trials[a.trial].role == "trial"),
        "attention_failures": sum(line["attention_failures"] for line in lines),
        "inattentive": sum(line["attention_failures"] > allowed for line in lines),
        "participants": lines[::-1][:_ROWS_SHOWN],
    }


def _line(person: Participant, answers: Sequence[Answer], trials: dict[str, Trial]) -> dict[str, Any]:
    judged = (answer.reaction_ms for answer in answers if trials[answer.trial].role == "trial")
    checks = [answer for answer in answers if trials[answer.trial].role == "attention"]
    return {
        "number": person.number,
        "language": person.language,
        "consented": person.consented is not None,
        "finished": person.finished is not None,
        "answers": len(answers),
        "median_ms": _median(judged),
        "attention_failures": sum(_right(answer, trials[answer.trial]) is False for answer in checks),
        "last": max((answer.received for answer in answers), default=None),
    }


def export(
    design: Design,
    answers: Iterable[Answer],
    participants: Iterable[Participant],
    pixel_ratios: dict[int, float],
) -> Iterator[dict[str, Any]]:
    """All answers, a row each with `COLUMNS`; `right` is true or false where there is a right answer."""
    trials = {trial.id: trial for trial in design.trials}
    languages = {person.number: person.language for person in participants}
    for answer in answers:
        trial = trials[answer.trial]
        chosen, other = (trial.first, trial.second)
        if answer.chosen == other.file:
            chosen, other = other, chosen
        row = (
            answer.participant,
            languages.get(answer.participant, ""),
            answer.position,
            trial.role,
            trial.id,
            trial.item,
            trial.size,
            answer.choice,
            answer.chosen,
            chosen.system,
            other.system,
            _right(answer, trial),
            answer.reaction_ms,
            answer.shown_percent,
            pixel_ratios.get(answer.participant),
            answer.received,
        )
        yield dict(zip(COLUMNS, row, strict=True))


def as_csv(rows: Iterable[dict[str, Any]]) -> str:
    """The rows as CSV that a spreadsheet opens without taking a name for a formula."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _harmless(value) for name, value in row.items()})
    return out.getvalue()


def _harmless(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return value


def _right(answer: Answer, trial: Trial) -> bool | None:
    if trial.right is None:
        return None
    return answer.chosen == (trial.first if trial.right == "first" else trial.second).file


def _median(values: Iterable[int]) -> float | None:
    listed = list(values)
    return float(median(listed)) if listed else None
