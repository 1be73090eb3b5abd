"""The command line's frame: its list of commands, its errors and its exit codes."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import click
import pytest

from art2real.cli import main as frame
from art2real.cli.common import emit, progress
from art2real.errors import UsageError, UserError


def run(monkeypatch, function, arguments=()) -> int:
    """Runs `function` as the command `trial` and returns the exit code."""
    command = click.command()(function)
    monkeypatch.setitem(frame.COMMANDS, "trial", "A trial.")
    monkeypatch.setattr(frame.LazyGroup, "get_command", lambda self, context, name: command)
    with pytest.raises(SystemExit) as end:
        frame.main(["trial", *arguments])
    return end.value.code


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("photos/ is empty"), 1, "art2real-cli: photos/ is empty"),
        (UsageError("unknown key x"), 2, "art2real-cli: unknown key x"),
        (KeyboardInterrupt(), 130, "art2real-cli: interrupted"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(monkeypatch, capsys, error, code, line):
    def fail() -> None:
        raise error

    assert run(monkeypatch, fail) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip() == line


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(frame.LazyGroup, "get_command", lambda *_: click.command()(fail))
    with pytest.raises(ZeroDivisionError):
        frame.main(["trial"])


def test_success_is_exit_code_zero(monkeypatch):
    assert run(monkeypatch, lambda: None) == 0


def test_an_unknown_command_is_wrong_use():
    result = subprocess.run(
        [sys.executable, "-m", "art2real.cli", "paint"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr.strip() == "art2real-cli: No such command 'paint'."
    assert result.stdout == ""


@pytest.mark.parametrize("name", frame.COMMANDS)
def test_every_listed_command_exists_and_explains_itself(name, capsys):
    module = importlib.import_module(f"art2real.cli.{name.replace('-', '_')}")
    assert module.command.help
    assert all(option.help for option in module.command.params if isinstance(option, click.Option))
    with pytest.raises(SystemExit) as end:
        frame.main([name, "--help"])
    assert end.value.code == 0
    assert "Usage: art2real-cli " + name in capsys.readouterr().out


def test_results_go_to_standard_output_and_progress_does_not(capsys, monkeypatch):
    monkeypatch.setattr("art2real.cli.common.LINE_INTERVAL", 0.0)
    with progress(3, "photos") as bar:
        for done in range(1, 4):
            bar.update(done, note="busy")
    emit({"photos": 3}, True, "3 photos")
    emit({"photos": 3}, False, "3 photos")
    out, err = capsys.readouterr()
    assert err.splitlines() == ["photos: 1 of 3, busy", "photos: 2 of 3, busy", "photos: 3 of 3, busy"]
    assert json.loads(out[: out.rindex("}") + 1]) == {"photos": 3}
    assert out.endswith("3 photos\n")
