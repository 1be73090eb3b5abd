"""Answers with what the design knows of them: who chose which system over which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from art2real.errors import UserError
from art2real.study.answers import Answer
from art2real.study.design import REAL, Design, Trial


@dataclass(frozen=True)
class Judgement:
    """An answer to a trial that counts, which practice and attention checks do not."""

    participant: int
    trial: str
    item: str
    """The painting or photo that the pictures are of: answers about one are not independent."""
    photo: str
    """The real photo beside it in real-vs-generated, which others' answers share too; else the empty word."""
    size: int
    """Side of the pictures as they were shown, pixels."""
    chosen: str
    """System of the picture that was chosen."""
    other: str
    left: bool
    reaction_ms: int


def trial_of(design: Design, answer: Answer) -> Trial:
    """The trial of an answer.

    Raises:
        UserError: the answer cannot be one of this design.
    """
    trial = design.by_id.get(answer.trial)
    if trial is None or answer.chosen not in (trial.first.file, trial.second.file):
        what = f"trial {answer.trial}" if trial is None else f"picture {answer.chosen}"
        raise UserError(
            f"participant {answer.participant}, answer {answer.position}: the design knows no such {what}; "
            "are these the answers of another study?"
        )
    return trial


def judgements(design: Design, answers: Sequence[Answer]) -> list[Judgement]:
    """Those answers that count, in the order in which they are given.

    Raises:
        UserError: an answer is not of this design.
    """
    found = []
    for answer in answers:
        trial = trial_of(design, answer)
        if trial.role != "trial":
            continue
        photos = [each.item for each in (trial.first, trial.second) if each.system == REAL]
        chosen, other = trial.first, trial.second
        if answer.chosen != chosen.file:
            chosen, other = other, chosen
        found.append(
            Judgement(
                participant=answer.participant,
                trial=trial.id,
                item=trial.item,
                photo=photos[0] if photos else "",
                size=trial.size,
                chosen=chosen.system,
                other=other.system,
                left=answer.choice == "left",
                reaction_ms=answer.reaction_ms,
            )
        )
    return found
