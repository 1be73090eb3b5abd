"""What all commands share: options, output for people and for machines, and progress."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import click

from art2real.cli.pace import Pace

Command = TypeVar("Command", bound=Callable[..., Any])

# Seconds between progress lines where there is no terminal to draw a bar on.
LINE_INTERVAL = 10.0


def json_option(command: Command) -> Command:
    """`--json`: the result as JSON on standard output; everything else goes to standard error."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(command)


def address_option(command: Command) -> Command:
    """`--address`: the Ray cluster to work on."""
    return click.option(
        "--address",
        metavar="ADDRESS",
        help="Ray cluster to work on (auto, HOST:PORT, ray://HOST:PORT). Without it a local one is started.",
    )(command)


def emit(data: dict[str, Any], as_json: bool, text: str) -> None:
    """Prints the result: `data` as JSON, or `text` for people."""
    click.echo(json.dumps(data, indent=2) if as_json else text)


def counted(number: int, what: str) -> str:
    """`1 shard`, `2,000 shards`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def human_bytes(count: float) -> str:
    """`639 kB`: bytes in the largest decimal unit that keeps the number above one."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 999.5:  # would round to 1000
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} PB"


def human_seconds(seconds: float) -> str:
    """`14 s`, `3 min`, `2 h 10 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


@dataclass(frozen=True)
class Reached:
    """Where the work stands. `seconds` are those left, or those it took once it is finished."""

    done: float
    total: float | None
    rate: float | None
    seconds: float | None
    note: str

    @property
    def finished(self) -> bool:
        return self.done == self.total


class Progress:
    """How far a long piece of work has come; `update` may be called as often as one likes."""

    def __init__(self, total: float | None, pace: Pace, show: Callable[[Reached], None]) -> None:
        self._total = total
        self._pace = pace
        self._show = show

    def update(self, done: float, total: float | None = None, note: str = "") -> None:
        """Says that `done` of `total` units are finished (`total`: when it was not known before)."""
        self._total = self._total if total is None else total
        pace = self._pace
        pace.update(done)
        if done == self._total:
            reached = Reached(done, self._total, pace.average(), pace.took, note)
        else:
            left = None if self._total is None else pace.left(self._total)
            reached = Reached(done, self._total, pace.rate(), left, note)
        self._show(reached)


@contextmanager
def progress(
    total: float | None, label: str, *, as_bytes: bool = False, clock: Callable[[], float] = time.monotonic
) -> Iterator[Progress]:
    """A progress bar on standard error if that is a terminal, a line every ten seconds elsewhere.

    Args:
        total: units of work; None while that is not known.
        label: what the units are, in the plural.
        as_bytes: the units are bytes.
        clock: seconds from any beginning.
    """
    amount = human_bytes if as_bytes else _grouped
    speed = human_bytes if as_bytes else _two_digits
    if sys.stderr.isatty():
        with _bar(label, total, amount, speed) as show:
            yield Progress(total, Pace(clock), show)
    else:
        yield Progress(total, Pace(clock), show_lines.get()(label, amount, speed, clock))


Format = Callable[[float], str]


def _grouped(number: float) -> str:
    return f"{number:,.0f}"


def _two_digits(rate: float) -> str:
    return _grouped(rate) if rate >= 10 else f"{rate:.2g}"


@contextmanager
def _bar(
    label: str, total: float | None, amount: Format, speed: Format
) -> Iterator[Callable[[Reached], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
    from rich.progress import Progress as RichProgress
    from rich.table import Column
    from rich.text import Text

    class Words(ProgressColumn):
        """The figures and the note; what a narrow terminal has no room for is their end."""

        def render(self, task: Task) -> Text:
            return Text(task.fields["words"], no_wrap=True, overflow="ellipsis")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20, table_column=Column(no_wrap=True)),
        Words(),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, words="")

        def show(reached: Reached) -> None:
            words = [amount(reached.done) + ("" if reached.total is None else f"/{amount(reached.total)}")]
            if reached.rate is not None:
                words.append(f"{speed(reached.rate)}/s")
            if reached.seconds is not None:
                words.append(str(timedelta(seconds=round(reached.seconds))))
            if reached.note:
                words.append(reached.note)
            bar.update(task, completed=reached.done, total=reached.total, words="  ".join(words))

        yield show


class Lines:
    """Progress as lines of text, at most one every `LINE_INTERVAL` seconds, and one at the end."""

    def __init__(self, label: str, amount: Format, speed: Format, clock: Callable[[], float]) -> None:
        self._label, self._amount, self._speed, self._clock = label, amount, speed, clock
        self._last = clock()

    def __call__(self, reached: Reached) -> None:
        now = self._clock()
        if reached.finished or now - self._last >= LINE_INTERVAL:
            self._last = now
            click.echo(f"{self._label}: {self._words(reached)}", err=True)

    def _words(self, reached: Reached) -> str:
        words = self._amount(reached.done)
        if reached.total is not None:
            words += f" of {self._amount(reached.total)}"
        if reached.finished and reached.seconds is not None and reached.seconds >= 1:
            words += f" in {human_seconds(reached.seconds)}"
        if reached.rate is not None:
            words += f", {self._speed(reached.rate)}/s"
        if reached.seconds is not None and not reached.finished:
            words += f", {human_seconds(reached.seconds)} left"
        return f"{words}, {reached.note}" if reached.note else words


show_lines: ContextVar[Callable[[str, Format, Format, Callable[[], float]], Callable[[Reached], None]]] = (
    ContextVar("show_lines", default=Lines)
)
"""How progress is shown where there is no terminal: a job has its own lines."""
