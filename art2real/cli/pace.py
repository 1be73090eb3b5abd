"""How fast work goes and how long it still takes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

# All in seconds. What is done this soon after the first word of the work was done by an earlier run of it.
_SETTLING = 1.0
# The recent past that the speed is that of.
_WINDOW = 30.0
# A speed over a shorter time would be mostly chance.
_LEAST = 1.0
# Marks this near to each other say nothing new.
_STEP = 0.25


class Pace:
    """The speed of work that says now and then how much of it is done.

    Work that goes on where it was begins with a jump: the first amount counts as there before. If the amount
    falls (a worker went back to its last checkpoint), measuring begins anew.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._latest = clock()
        self._done = 0.0
        self._marks: deque[tuple[float, float]] = deque()
        self._first: tuple[float, float] | None = None
        self._settled = 0.0

    def update(self, done: float) -> None:
        """Says that `done` units are finished now."""
        self._latest = self._clock()
        if self._first is None or done < self._done:
            self._settled = self._latest + _SETTLING
        self._done = done
        if self._first is None or self._latest < self._settled:
            self._first = (self._latest, done)
            self._marks = deque([self._first])
            return
        if self._latest - self._marks[-1][0] >= _STEP:
            self._marks.append((self._latest, done))
        while len(self._marks) > 2 and self._marks[1][0] <= self._latest - _WINDOW:
            self._marks.popleft()

    @property
    def took(self) -> float:
        """Seconds from the beginning to the latest update."""
        return self._latest - self._began

    def rate(self) -> float | None:
        """Units a second over the last half minute, up to the latest update; None while that is not known."""
        return self._since(self._marks[0]) if self._marks else None

    def average(self) -> float | None:
        """Units a second over all that was measured; None if that was too short."""
        return None if self._first is None else self._since(self._first)

    def left(self, total: float) -> float | None:
        """Seconds until `total` units are done, at the present rate; None while that is not known."""
        rate = self.rate()
        return max(total - self._done, 0.0) / rate if rate else None

    def _since(self, mark: tuple[float, float]) -> float | None:
        seconds = self._latest - mark[0]
        return (self._done - mark[1]) / seconds if seconds >= _LEAST else None
