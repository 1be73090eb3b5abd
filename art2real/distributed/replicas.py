"""Questions to processes that may be slow, dead or on their way back, each with a time limit."""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import ray

from art2real.errors import UserError

# Between asking an actor that is not there and asking it again.
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class NoAnswer:
    """Stands in the place of an answer that nobody gave."""

    why: str
    """The end of a sentence about who did not answer."""


class Replicas:
    """Actors of which each can answer the same questions, as seen from one process; safe between threads.

    Each takes its turn. One that failed or was late is passed over as long as it does not answer a ping.
    """

    def __init__(self, handles: Sequence[Any]) -> None:
        self.handles = tuple(handles)
        # Several workers ask at the same moment; they should not all begin with the same replica. Each method
        # has its own turns: with one for all, two methods in turn would each meet the same replica for ever.
        self._turns: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(os.getpid()))
        self._pings: dict[int, ray.ObjectRef] = {}
        self._gave_up = False
        self._lock = threading.Lock()

    def choose(self, among: Sequence[int], method: str) -> int:
        """Whose turn it is to answer a method, of the replicas with these numbers."""
        with self._lock:
            self._hear()
            turn = next(self._turns[method])
            well = [number for number in among if number not in self._pings] or among
            return well[turn % len(well)]

    def doubt(self, replica: int) -> None:
        """Prefers others until this one answers a ping."""
        with self._lock:
            self._ping(replica)

    def give_up(self) -> None:
        """No replica has answered a question; all of them are doubted."""
        with self._lock:
            # A ping that was answered meanwhile no longer tells anything: one has to be on its way.
            for replica in range(len(self.handles)):
                self._ping(replica)
            self._gave_up = True

    @property
    def lost(self) -> bool:
        """Whether a question found no answer, and no replica has answered a ping since."""
        with self._lock:
            self._hear()
            return self._gave_up

    def _ping(self, replica: int) -> None:
        if replica not in self._pings:
            self._pings[replica] = self.handles[replica].ping.remote()

    def _hear(self) -> None:
        for replica, ping in list(self._pings.items()):
            if not ray.wait([ping], timeout=0)[0]:
                continue
            try:
                ray.get(ping)
            except ray.exceptions.RayError:
                self._pings[replica] = self.handles[replica].ping.remote()
            else:
                del self._pings[replica]
                self._gave_up = False


@dataclass(frozen=True)
class Question:
    """A call of an actor's method, and who can answer it."""

    replicas: Replicas
    method: str
    arguments: tuple[Any, ...]


def ask_all(questions: Sequence[Question], seconds: float) -> list[Any]:
    """Asks all at once, and waits for all answers, in the order of the questions.

    A question whose replica dies, or has not answered `seconds` after it was first asked, is put to another
    one. In place of the answer to a question that nobody is left to answer there is a `NoAnswer`.

    Raises:
        UserError: a method raised it. Anything else that a method raises is raised as it is.
    """
    asked = [_Asked(question, seconds) for question in questions]
    answers: list[Any] = [None] * len(asked)
    waiting: dict[ray.ObjectRef, int] = {}

    def put(number: int) -> None:
        ref = asked[number].put()
        if ref is None:
            answers[number] = NoAnswer(asked[number].why)
        else:
            waiting[ref] = number

    for number in range(len(asked)):
        put(number)
    while waiting:
        patience = min(asked[number].deadline for number in waiting.values()) - time.monotonic()
        ready, _ = ray.wait(list(waiting), timeout=max(0.0, patience))
        late = [ref for ref, number in waiting.items() if time.monotonic() >= asked[number].deadline]
        for ref in ready or late:
            number = waiting.pop(ref)
            if not ready:
                asked[number].was_late()
                put(number)
                continue
            try:
                answers[number] = _value(ref)
            except ray.exceptions.ActorDiedError:
                asked[number].died()
                put(number)
            except (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError):
                asked[number].failed()
                put(number)
    return answers


@dataclass
class _Asked:
    """How it stands with one question."""

    question: Question
    seconds: float
    why: str = ""
    """What the last of its replicas did instead of answering."""
    deadline: float = 0.0
    """Of the replica that it was put to last."""
    _replica: int = 0
    _deadlines: dict[int, float] = field(default_factory=dict)
    _left: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._left = list(range(len(self.question.replicas.handles)))

    def put(self) -> ray.ObjectRef | None:
        """Puts the question to a replica that is left; None: there is none."""
        replicas = self.question.replicas
        if not self._left:
            replicas.give_up()
            return None
        self._replica = replicas.choose(self._left, self.question.method)
        self.deadline = self._deadlines.setdefault(self._replica, time.monotonic() + self.seconds)
        method = getattr(replicas.handles[self._replica], self.question.method)
        return method.remote(*self.question.arguments)

    def was_late(self) -> None:
        self._drop(f"did not answer in {self.seconds:g} s")

    def died(self) -> None:
        """For good: it was stopped, or the process that started it has ended."""
        self._drop("is lost: its index actor was stopped, or the process that started it has ended")

    def failed(self) -> None:
        """It is being started again: it has the rest of its time to answer."""
        self.question.replicas.doubt(self._replica)
        if time.monotonic() >= self.deadline:
            self.was_late()
        else:
            time.sleep(_PAUSE_SECONDS)

    def _drop(self, why: str) -> None:
        self.question.replicas.doubt(self._replica)
        self._left.remove(self._replica)
        self.why = why


def _value(ref: ray.ObjectRef) -> Any:
    try:
        return ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
