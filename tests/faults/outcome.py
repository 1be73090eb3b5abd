"""What came of a fault, and the clock that tells how long the work needed to get over it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """A stage that ran undisturbed, and once more with a fault in the middle of it."""

    undisturbed: float
    """Seconds."""
    disturbed: float
    """Seconds, a repeated command included."""
    recovery: float | None
    """Seconds from the fault until something that it had interrupted was done; None: nothing was."""
    equal: bool
    """Whether the results are the same: files to the byte, losses to the bit."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What else is to be seen of it."""


class Stopwatch:
    """Seconds of the block that it is used for."""

    seconds = 0.0

    def __enter__(self) -> Stopwatch:
        self._begun = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._begun


class Blow:
    """Waits for its moment and strikes, in a thread beside the work."""

    def __init__(self, strike: Callable[[], float]) -> None:
        """`strike` waits, does it, waits until the work has got over it, and returns the seconds between."""
        self._strike = strike
        self._recovery: float | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self._recovery = self._strike()
        except BaseException as error:
            self._error = error

    @property
    def recovery(self) -> float:
        """Raises what went wrong with it, so that work which was never disturbed does not count as equal."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._recovery is not None
        return self._recovery

    @contextmanager
    def beside(self) -> Iterator[Blow]:
        """Starts it; at the end of the block it has struck."""
        self._thread.start()
        yield self
        _ = self.recovery


def contents(folder: Path, *, without: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Every file of a folder by its path in it, hidden ones too, but for those of some names."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in without
    }
