"""A study as participants meet it: who they are, where they are, what comes next."""

from __future__ import annotations

import hmac
from functools import lru_cache
from pathlib import Path
from typing import Any

from art2real.errors import UserError
from art2real.pages.problem import Problem
from art2real.study.answers import Choice, Participant
from art2real.study.design import IMAGES, Design, Picture, read_design
from art2real.study.schedule import Shown, schedule
from art2real.study.store import Store

_AHEAD = 4
"""Trials that a browser is told in advance, the present one among them, so that it loads their pictures."""
_ORDERS_KEPT = 1000


class Sittings:
    """All participants' sittings. What a participant is told never says which system made a picture."""

    def __init__(self, folder: Path, store: Store) -> None:
        """Reads the design.

        Raises:
            UserError: there is none, or a picture of it is missing.
        """
        self.design: Design = read_design(folder)
        self.store = store
        self.images = folder / IMAGES
        for file in sorted(self.design.files):
            if not (self.images / file).is_file():
                raise UserError(f"{self.images / file}: missing; put the study's images back")
        self.order = lru_cache(_ORDERS_KEPT)(lambda number: schedule(self.design, number))
        self.total = len(self.order(0))

    def state(self, person: Participant) -> dict[str, Any]:
        """Where a participant is."""
        position = self.store.answered(person.number)
        return {
            "language": person.language,
            "consented": person.consented is not None,
            "finished": person.finished is not None,
            "position": position,
            "upcoming": [] if person.consented is None else self._upcoming(person.number, position),
        }

    def answer(
        self,
        person: Participant,
        position: int,
        secret: str,
        choice: Choice,
        reaction_ms: int,
        shown_percent: int,
    ) -> dict[str, Any]:
        """Stores an answer; the same one again is told the same.

        Raises:
            Problem: the participant has not consented, or this is no position of hers.
            AlreadyAnswered: the position has another answer.
            OutOfOrder: an earlier one has none.
        """
        if person.consented is None:
            raise Problem(403, "no_consent", "answers are taken after consent")
        order = self.order(person.number)
        if position >= self.total:
            if person.finished is not None:
                raise Problem(409, "finished", "all positions are answered")
            raise Problem(409, "out_of_order", "there is no such position")
        shown = order[position]
        if not hmac.compare_digest(secret.encode("utf-8", "replace"), shown.secret.encode()):
            raise Problem(403, "wrong_trial", "this is not the trial at that position")
        stored = self.store.add_answer(
            person.number,
            shown,
            choice,
            reaction_ms,
            last=position == self.total - 1,
            shown_percent=shown_percent,
        )
        return {
            "position": position + 1,
            "finished": position == self.total - 1,
            "right": _was_right(shown, stored.choice),
            "upcoming": self._upcoming(person.number, position + 1),
        }

    def _upcoming(self, number: int, position: int) -> list[dict[str, Any]]:
        return [_told(shown) for shown in self.order(number)[position : position + _AHEAD]]


def _told(shown: Shown) -> dict[str, Any]:
    painting = shown.trial.painting
    return {
        "position": shown.position,
        "secret": shown.secret,
        "practice": shown.trial.role == "practice",
        "painting": None if painting is None else _picture(painting),
        "left": _picture(shown.left),
        "right": _picture(shown.right),
    }


def _picture(picture: Picture) -> dict[str, Any]:
    return {"url": f"/images/{picture.file}", "width": picture.width, "height": picture.height}


def _was_right(shown: Shown, choice: Choice) -> bool | None:
    """Of practice; of everything else nobody is told."""
    if shown.trial.role != "practice" or shown.trial.right is None:
        return None
    right = shown.trial.first if shown.trial.right == "first" else shown.trial.second
    return (shown.left if choice == "left" else shown.right) == right
