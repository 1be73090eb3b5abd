"""What all commands share: options, output for people and for machines, and progress."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

# Seconds between progress lines where there is no terminal to draw a bar on.
_LINE_INTERVAL = 10.0


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


class Progress:
    """How far a long piece of work has come; `update` may be called as often as one likes."""

    def __init__(self, draw: Callable[[float, float | None, str], None]) -> None:
        self._draw = draw

    def update(self, done: float, total: float | None = None, note: str = "") -> None:
        """Says that `done` of `total` units are finished (`total`: when it was not known before)."""
        self._draw(done, total, note)


@contextmanager
def progress(total: float | None, label: str) -> Iterator[Progress]:
    """A progress bar on standard error if that is a terminal, a line every ten seconds elsewhere."""
    if sys.stderr.isatty():
        with _bar(total, label) as drawn:
            yield drawn
    else:
        yield Progress(_Lines(total, label))


@contextmanager
def _bar(total: float | None, label: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, note="")

        def draw(done: float, new_total: float | None, note: str) -> None:
            bar.update(task, completed=done, note=note)
            if new_total is not None:
                bar.update(task, total=new_total)

        yield Progress(draw)


class _Lines:
    """Progress as lines of text, at most one every `_LINE_INTERVAL` seconds, and one at the end."""

    def __init__(self, total: float | None, label: str) -> None:
        self.total = total
        self.label = label
        self.last = time.monotonic()

    def __call__(self, done: float, total: float | None, note: str) -> None:
        self.total = self.total if total is None else total
        now = time.monotonic()
        if done != self.total and now - self.last < _LINE_INTERVAL:
            return
        self.last = now
        of = "" if self.total is None else f" of {self.total:g}"
        click.echo(f"{self.label}: {done:g}{of}{'  ' + note if note else ''}", err=True)
