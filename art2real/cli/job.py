"""Commands as jobs of a Ray cluster: their words as lines of JSON, SIGTERM as Ctrl-C.

A job prints one JSON object a line on standard output:

    {"time": "2026-11-02T08:15:30.123+00:00", "stage": "train", "event": "progress", "done": 120, ...}

event        what else the line has
started      arguments, and of the first stage: versions, job (its id and metadata), address
progress     what, done, total, per_second, seconds_left, note: every ten seconds, and when all is done
message      message: what the command says on standard error; level, of warnings in its log
skipped      reason: the stage's output is complete
finished     seconds, result: what the command prints with --json; of long lists only how long they are
interrupted  seconds, result: SIGTERM or Ctrl-C; what is done is kept
failed       seconds, exit_code, message; traceback, where the fault is this program's
"""

from __future__ import annotations

import importlib
import io
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import click
from click.core import ParameterSource

from art2real.cli import common
from art2real.errors import UsageError, UserError
from art2real.versions import versions

INTERRUPTED = 130
# A list of more entries (a line for each of a million files) is not for a log.
_LONG = 50
_PACKAGES = ("ray", "torch", "faiss-gpu", "faiss-cpu", "numpy", "pyarrow")
# What Ray gives the entry point of a submitted job: its runtime environment and its metadata.
_SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"


class JobLog:
    """Writes events, each a line of JSON; threads may share it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def say(self, stage: str, event: str, **facts: Any) -> None:
        """Writes one event; facts that are None are left out."""
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        known = {name: value for name, value in facts.items() if value is not None}
        line = json.dumps({"time": now, "stage": stage, "event": event, **known}, default=str)
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()


@dataclass(frozen=True)
class Ended:
    """How a stage ended."""

    code: int
    result: dict[str, Any]
    """What it printed as JSON; empty where it failed."""
    message: str = ""
    """Why it failed."""


def run_job(name: str, arguments: Sequence[str] | None = None) -> None:
    """Runs the command `name` as a job and ends the process: 0 done, 1 failed, 2 wrong use, 130 interrupted.

    Args:
        name: a module of `art2real.cli` with a `command`, written with hyphens.
        arguments: None: those of the process. Without --address among them, the job works on the cluster of
            RAY_ADDRESS, which a submitted job has, or on the one that runs on this machine.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    log = JobLog(sys.stdout)
    command: click.Command = importlib.import_module(f"art2real.cli.{name.replace('-', '_')}").command
    with _sigterm_as_ctrl_c() as listen:
        try:
            context = make_context(command, f"jobs/{name.replace('-', '_')}.py", given)
        except click.exceptions.Exit as end:  # --help, which has been printed
            sys.exit(end.exit_code)
        except (UserError, click.ClickException) as error:
            log.say(name, "failed", exit_code=error.exit_code, message=_message(error))
            sys.exit(error.exit_code)
        context.obj = log
        ended = run_stage(log, name, context, given, on_attached=listen, **_where())
    sys.exit(ended.code)


def make_context(command: click.Command, name: str, arguments: Sequence[str]) -> click.Context:
    """The command with its options read: as JSON, on the job's cluster where they name no other.

    Raises:
        click.ClickException, UserError: a wrong option.
    """
    return command.make_context(name, list(arguments), default_map={"as_json": True, "address": "auto"})


def run_stage(
    log: JobLog,
    stage: str,
    context: click.Context,
    arguments: Sequence[str],
    *,
    on_attached: Callable[[], None] = lambda: None,
    **facts: Any,
) -> Ended:
    """Runs a command and writes down how it begins, goes on and ends; raises nothing.

    Args:
        log: takes the events, and all that the command prints.
        stage: its name in the events.
        context: of `make_context`.
        arguments: those of the context, for the log.
        on_attached: called when the process has been connected to the cluster.
        facts: more to say at the beginning.
    """
    log.say(stage, "started", arguments=list(arguments), **facts)
    begun = time.monotonic()
    said, out = _Lines(lambda line: log.say(stage, "message", message=line)), io.StringIO()
    fault = None
    with redirect_stdout(out), redirect_stderr(said), _progress_into(log, stage), _warnings_into(log, stage):
        try:
            ended = _invoke(context, out, on_attached)
        except (UserError, click.ClickException) as error:
            ended = Ended(error.exit_code, {}, _message(error))
        except (click.Abort, KeyboardInterrupt):
            ended = Ended(INTERRUPTED, {}, "interrupted")
        except Exception as error:
            ended = Ended(1, {}, f"{type(error).__name__}: {error}")
            fault = traceback.format_exc()
        said.close()
    seconds = round(time.monotonic() - begun, 1)
    if ended.code == 0:
        log.say(stage, "finished", seconds=seconds, result=ended.result)
    elif ended.code == INTERRUPTED:
        message = "interrupted; what is done is kept"
        log.say(stage, "interrupted", seconds=seconds, message=message, result=ended.result or None)
    else:
        log.say(
            stage, "failed", seconds=seconds, exit_code=ended.code, message=ended.message, traceback=fault
        )
    return ended


def _invoke(context: click.Context, out: io.StringIO, on_attached: Callable[[], None]) -> Ended:
    from art2real.distributed.cluster import session

    with context:
        _check_places(context.params)
        if context.params.get("dry_run"):
            code = context.command.invoke(context)
        else:
            with ExitStack() as cluster:
                try:
                    cluster.enter_context(session(context.params["address"]))
                except UserError as error:
                    if context.get_parameter_source("address") is ParameterSource.COMMANDLINE:
                        raise
                    raise UserError(
                        "no Ray cluster runs here: use `ray job submit`, or name a cluster with --address"
                    ) from error
                on_attached()
                code = context.command.invoke(context)
    text = out.getvalue()
    return Ended(code if isinstance(code, int) else 0, _shortened(json.loads(text)) if text else {})


def _shortened(result: Any) -> Any:
    if isinstance(result, dict):
        return {name: _shortened(value) for name, value in result.items()}
    if isinstance(result, list):
        return {"entries": len(result)} if len(result) > _LONG else [_shortened(value) for value in result]
    return result


def _check_places(params: dict[str, Any]) -> None:
    """Refuses relative places for results in a submitted job: its working folder is a copy that goes with it.

    Raises:
        UsageError: names the place.
    """
    if not _submitted():
        return
    places = {"--out": params.get("out"), "BANK": params.get("bank")}
    if "config_path" in params and "out" not in params:
        from art2real.config.load import load_config

        places["runs"] = Path(load_config(params["config_path"], params["overrides"]).runs)
    for name, place in places.items():
        if isinstance(place, Path) and not place.is_absolute():
            raise UsageError(
                f"{name} {place}: is inside of the job's copy of the working folder, which is removed with "
                "the job; give an absolute path that all nodes share"
            )


def _where() -> dict[str, Any]:
    """What the log says of the job itself."""
    metadata = _submitted().get("metadata") or {}
    return {
        "versions": versions(_PACKAGES),
        "job": metadata or None,
        "address": os.environ.get("RAY_ADDRESS"),
    }


def _submitted() -> dict[str, Any]:
    """What the cluster says of this process's job; empty outside of a submitted one."""
    found: dict[str, Any] = json.loads(os.environ.get(_SUBMITTED) or "{}")
    return found


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[Callable[[], None]]:
    """`ray job stop` sends SIGTERM: the commands then end as at Ctrl-C.

    Gives a function that says so again: Ray takes the signal for itself when it connects.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def listen() -> None:
        signal.signal(signal.SIGTERM, interrupt)

    before = signal.getsignal(signal.SIGTERM)
    listen()
    try:
        yield listen
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _progress_into(log: JobLog, stage: str) -> Iterator[None]:
    """For the time of the block, the progress of commands goes into a job's log, in figures."""
    before = common.show_lines.set(partial(_Progress, log, stage))
    try:
        yield
    finally:
        common.show_lines.reset(before)


@contextmanager
def _warnings_into(log: JobLog, stage: str) -> Iterator[None]:
    """For the time of the block, the package's warnings go into a job's log, as those of this stage."""
    package, handler = logging.getLogger("art2real"), _Warnings(log, stage)
    before = package.handlers
    package.handlers = [handler]
    try:
        yield
    finally:
        package.handlers = before


class _Warnings(logging.Handler):
    def __init__(self, log: JobLog, stage: str) -> None:
        super().__init__(logging.WARNING)
        self._log, self._stage = log, stage

    def emit(self, record: logging.LogRecord) -> None:
        self._log.say(self._stage, "message", message=record.getMessage(), level=record.levelname.lower())


class _Progress:
    """Takes the place of progress as lines of text."""

    def __init__(
        self, log: JobLog, stage: str, label: str, amount: Any, speed: Any, clock: Callable[[], float]
    ) -> None:
        self._log, self._stage, self._label, self._clock = log, stage, label, clock
        self._last = clock()

    def __call__(self, reached: common.Reached) -> None:
        now = self._clock()
        if not reached.finished and now - self._last < common.LINE_INTERVAL:
            return
        self._last = now
        self._log.say(
            self._stage,
            "progress",
            what=self._label,
            done=reached.done,
            total=reached.total,
            per_second=None if reached.rate is None else round(reached.rate, 3),
            seconds_left=None if reached.finished or reached.seconds is None else round(reached.seconds),
            note=reached.note or None,
        )


class _Lines(io.TextIOBase):
    """A stream of text, each line of which is told when it is whole."""

    encoding = "utf-8"

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._begun = ""
        self._lock = threading.RLock()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._lock:
            *whole, self._begun = (self._begun + text).split("\n")
        for line in whole:
            if line.strip():
                self._tell(line)
        return len(text)

    def close(self) -> None:
        if self._begun:
            self.write("\n")
        super().close()


def _message(error: Exception) -> str:
    return error.format_message() if isinstance(error, click.ClickException) else str(error)
