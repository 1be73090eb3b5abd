"""What a study knows of its participants and their answers, apart from where it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Choice = Literal["left", "right"]


@dataclass(frozen=True)
class Answer:
    """One choice between two pictures; practice and attention checks are answers too."""

    participant: int
    """Number of the participant, from 0."""
    position: int
    """Place in the participant's order, from 0: `schedule(design, participant)[position]`."""
    trial: str
    """Identity of the trial in the design."""
    choice: Choice
    chosen: str
    """The file of the picture that was chosen, in the study's images."""
    reaction_ms: int
    """Whole milliseconds from when both pictures were painted to the choice, as the browser measured it."""
    received: str
    """When the server had it, UTC, ISO 8601."""
    shown_percent: int = 100
    """Width of the pictures on the screen, per cent of what the design says: less where it was too small."""


@dataclass(frozen=True)
class Participant:
    """Somebody who may take part; nothing in it says who."""

    number: int
    """From 0, without gaps: it decides the participant's order of trials."""
    language: str
    """`""` until one is chosen."""
    created: str
    """UTC, ISO 8601, as the others."""
    consented: str | None
    finished: str | None
