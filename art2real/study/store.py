"""Participants and answers in a database: SQLite in the study's folder, or PostgreSQL for several servers."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError

from art2real.errors import UserError
from art2real.study.answers import Answer, Choice, Participant
from art2real.study.database import open_database
from art2real.study.schedule import Shown
from art2real.study.tables import answers, participants

TOKEN_BYTES = 16
_TRIES = 1000


class AlreadyAnswered(Exception):  # noqa: N818 - the server makes an answer of it
    """The position has another answer, which stands."""


class OutOfOrder(Exception):  # noqa: N818
    """Positions before this one have no answer yet."""

    def __init__(self, position: int) -> None:
        super().__init__(f"position {position} is next")
        self.position = position


@dataclass(frozen=True)
class Enrolled:
    """A participant with the token, which is known here alone: the database has its hash."""

    number: int
    token: str


class Store:
    """All of one study. Its methods may be called from several threads, and by several servers at a time.

    What a method has written is on the disk when it returns.
    """

    def __init__(self, engine: sql.Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, folder: Path, database: str | None = None) -> Store:
        """The store of the study in a folder, made if it is not there.

        Args:
            folder: the study, with its design.
            database: URL of a database; None: a file in the folder.

        Raises:
            UserError: the database cannot be opened, or holds another study.
        """
        return cls(open_database(folder, database))

    def close(self) -> None:
        """Gives all connections back."""
        self._engine.dispose()

    def enrol(self) -> Enrolled:
        """A new participant, with the next number that is free.

        Raises:
            UserError: no number could be had.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        row = {"token_hash": _hash(token), "language": "", "created": now()}
        for _ in range(_TRIES):
            try:
                with self._writing() as connection:
                    last = connection.scalar(sql.select(sql.func.max(participants.c.number)))
                    free = 0 if last is None else last + 1
                    connection.execute(participants.insert().values(number=free, **row))
                return Enrolled(free, token)
            except IntegrityError:
                continue  # another server has taken the number between our look and our insert
        raise UserError("no number could be given to a participant: the database is too busy")

    def find(self, token: str) -> Participant | None:
        """Who holds this token."""
        chosen = _person().where(participants.c.token_hash == _hash(token))
        with self._engine.connect() as connection:
            row = connection.execute(chosen).one_or_none()
        return None if row is None else Participant(*row)

    def consent(self, number: int, language: str, pixel_ratio: float | None) -> Participant:
        """That a participant agrees; the first time counts, the language is that of the last.

        Args:
            number: whose.
            language: that of the page.
            pixel_ratio: device pixels per CSS pixel of the screen.
        """
        with self._writing() as connection:
            connection.execute(
                participants.update()
                .where(participants.c.number == number)
                .values(
                    language=language,
                    consented=sql.func.coalesce(participants.c.consented, now()),
                    pixel_ratio=sql.func.coalesce(participants.c.pixel_ratio, pixel_ratio),
                )
            )
            return Participant(*connection.execute(_person().where(participants.c.number == number)).one())

    def answered(self, number: int) -> int:
        """How many answers a participant has given: the position that is next."""
        with self._engine.connect() as connection:
            return _count(connection, number)

    def add_answer(
        self,
        number: int,
        shown: Shown,
        choice: Choice,
        reaction_ms: int,
        *,
        last: bool = False,
        shown_percent: int = 100,
    ) -> Answer:
        """Stores an answer once: the same one again gives the one that is stored.

        Args:
            number: of the participant.
            shown: the entry of the participant's order that was answered.
            choice: side of the picture that was chosen.
            reaction_ms: whole milliseconds.
            last: this is the last position; the participant is then finished.
            shown_percent: width of the pictures on the screen, per cent of what it should be.

        Raises:
            AlreadyAnswered: the position has another answer.
            OutOfOrder: an earlier position has none.
        """
        chosen, other = (shown.left, shown.right) if choice == "left" else (shown.right, shown.left)
        received = now()
        answer = Answer(
            number, shown.position, shown.trial.id, choice, chosen.file, reaction_ms, received, shown_percent
        )
        try:
            with self._writing() as connection:
                following = _count(connection, number)
                if following < shown.position:
                    raise OutOfOrder(following)
                if following == shown.position:
                    connection.execute(
                        answers.insert().values(
                            participant=answer.participant,
                            position=answer.position,
                            trial=answer.trial,
                            choice=answer.choice,
                            chosen=answer.chosen,
                            chosen_system=chosen.system,
                            other_system=other.system,
                            reaction_ms=answer.reaction_ms,
                            shown_percent=answer.shown_percent,
                            received=answer.received,
                        )
                    )
                    if last:
                        mine = participants.update().where(participants.c.number == number)
                        connection.execute(mine.values(finished=received))
                    return answer
        except IntegrityError:
            pass  # the same moment, another tab: its answer is looked at as one that was there before
        stored = self._stored(number, shown.position)
        if stored.choice != choice:
            raise AlreadyAnswered
        return stored

    def answers(self) -> list[Answer]:
        """All answers, by participant and position; practice and attention checks too."""
        with self._engine.connect() as connection:
            rows = connection.execute(_answer().order_by(answers.c.participant, answers.c.position))
            return [Answer(*row) for row in rows]

    def participants(self) -> list[Participant]:
        """All participants, by number."""
        with self._engine.connect() as connection:
            return [
                Participant(*row) for row in connection.execute(_person().order_by(participants.c.number))
            ]

    def pixel_ratios(self) -> dict[int, float]:
        """Device pixels per CSS pixel, by participant, where the browser told."""
        chosen = sql.select(participants.c.number, participants.c.pixel_ratio)
        with self._engine.connect() as connection:
            rows = connection.execute(chosen.where(participants.c.pixel_ratio.is_not(None)))
            return {row.number: row.pixel_ratio for row in rows}

    def _stored(self, number: int, position: int) -> Answer:
        place = (answers.c.participant == number) & (answers.c.position == position)
        with self._engine.connect() as connection:
            return Answer(*connection.execute(_answer().where(place)).one())

    @contextmanager
    def _writing(self) -> Iterator[sql.Connection]:
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection


def now() -> str:
    """The time, UTC, ISO 8601 with milliseconds."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _hash(token: str) -> str:
    # Of 128 random bits: nothing slower is needed, nobody can try them all.
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _person() -> sql.Select:
    of = participants.c
    return sql.select(of.number, of.language, of.created, of.consented, of.finished)


def _answer() -> sql.Select:
    of = answers.c
    return sql.select(
        of.participant,
        of.position,
        of.trial,
        of.choice,
        of.chosen,
        of.reaction_ms,
        of.received,
        of.shown_percent,
    )


def _count(connection: sql.Connection, number: int) -> int:
    # Positions are filled in order and never emptied, so the highest one tells how many there are.
    highest = connection.scalar(
        sql.select(sql.func.max(answers.c.position)).where(answers.c.participant == number)
    )
    return 0 if highest is None else highest + 1
