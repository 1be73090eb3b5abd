"""The folder of a run: what it was made with, what it wrote down, and how far it came.

runs/NNNN-name/
  config.yaml      the resolved configuration
  run.json         versions, commit, what the data and the bank were
  stats.jsonl      one line a logged step
  samples/         grids of fixed paintings
  tensorboard/     the same figures and grids as events
  retrieved/       patches of the translations, with the real patches nearest to them
  checkpoints/     step-00001000/ ...
  warnings.txt     what the workers warned of
  finished.json    written when the last step was done
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from art2real.config.load import load_config, save_config
from art2real.config.tree import TrainingConfig
from art2real.errors import UserError
from art2real.translation.checkpoint import check_checkpoint, checkpoints_of, read_record
from art2real.versions import versions

log = logging.getLogger(__name__)

# More bytes than a line of stats.jsonl has.
_LONGEST_LINE = 1 << 14
_PACKAGES = ("torch", "ray", "faiss-gpu", "faiss-cpu", "numpy", "pyarrow", "pillow")


@dataclass(frozen=True)
class RunFolder:
    """One run's folder, `path`; small files in it are how the driver and the workers speak to each other."""

    path: Path

    @classmethod
    def create(cls, config: TrainingConfig, facts: Mapping[str, Any]) -> RunFolder:
        """Makes the next folder `runs/NNNN-name`; `facts` about data and bank go into run.json.

        Raises:
            UserError: the folder cannot be made.
        """
        runs = Path(config.runs).absolute()
        try:
            runs.mkdir(parents=True, exist_ok=True)
            number = max((number for number, _ in _numbered(runs)), default=0) + 1
            while True:
                run = cls(runs / f"{number:04d}-{config.name}")
                try:
                    run.path.mkdir()
                    break
                except FileExistsError:  # another run was started at the same moment
                    number += 1
        except OSError as error:
            raise UserError(f"runs folder {runs} cannot be written: {error.strerror}") from None
        save_config(config, run.path / "config.yaml")
        _write_json(run.path / "run.json", {**_provenance(), **facts})
        return run

    @classmethod
    def newest(cls, config: TrainingConfig) -> RunFolder:
        """The run of that name with the highest number.

        Raises:
            UserError: there is none.
        """
        runs = Path(config.runs).absolute()
        found = [path for _, path in _numbered(runs) if path.name.split("-", 1)[1] == config.name]
        if not found:
            raise UserError(
                f"no run named {config.name} in {runs} to resume; leave --resume out to start one"
            )
        return cls(found[-1])

    @property
    def config(self) -> TrainingConfig:
        """The configuration that the run was started with."""
        return load_config(self.path / "config.yaml")

    @property
    def facts(self) -> dict[str, Any]:
        """run.json."""
        facts: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        return facts

    # Checkpoints

    @property
    def checkpoint_folder(self) -> Path:
        return self.path / "checkpoints"

    def checkpoint_path(self, step: int) -> Path:
        """Where the checkpoint after `step` steps belongs."""
        return self.checkpoint_folder / f"step-{step:08d}"

    def checkpoints(self) -> list[tuple[int, Path]]:
        """Step and folder of each complete checkpoint, oldest first."""
        return checkpoints_of(self.path)

    def newest_whole(self) -> Path | None:
        """The newest checkpoint whose files are as they were written, None if there is no checkpoint.

        Damaged newer ones are set aside, under a name that says so; what a killed worker had begun to write
        is deleted. No worker may be writing.

        Raises:
            UserError: all are damaged.
        """
        for half in self.checkpoint_folder.glob(".step-*"):
            shutil.rmtree(half, ignore_errors=True)
        kept = self.checkpoints()
        for _, path in reversed(kept):
            try:
                check_checkpoint(path)
            except UserError as error:
                problem = str(error)
            else:
                return path
            aside = path.with_name(f"{path.name}.damaged")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
            log.warning("%s. It was set aside as %s; going on from the one before it", problem, aside.name)
        if kept:
            raise UserError(f"{self.path}: all of its {len(kept)} checkpoints are damaged; start a new run")
        return None

    def prune(self, keep: int) -> None:
        """Deletes all checkpoints but the newest `keep` and the best."""
        best = self.best
        for step, path in self.checkpoints()[:-keep]:
            if best is None or step != best["step"]:
                shutil.rmtree(path)

    @property
    def best(self) -> dict[str, Any] | None:
        """`step`, `by` and `value` of the checkpoint that was judged best, by the measure that was used last;
        None where none was judged."""
        found = []
        for step, path in self.checkpoints():
            try:
                record = read_record(path)
            except UserError:
                continue
            if is_judged(record):
                judged = record["judged"]
                value = judged["sum"] / judged["steps"]
                found.append({"step": step, "by": judged["by"], "value": value})
        same = [each for each in found if each["by"] == found[-1]["by"]]
        return min(same, key=lambda each: each["value"], default=None)

    # What the run writes down

    def append_stats(self, line: Mapping[str, Any]) -> None:
        with (self.path / "stats.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def stats(self) -> list[dict[str, Any]]:
        """The lines of stats.jsonl; a last line that was cut off by a crash is left out."""
        lines = []
        try:
            text = (self.path / "stats.jsonl").read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        for line in text.splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue
        return lines

    def last_stats(self) -> dict[str, Any] | None:
        """The newest whole line of stats.jsonl, None before the first."""
        try:
            with (self.path / "stats.jsonl").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_LINE))
                lines = file.read().splitlines()
        except FileNotFoundError:
            return None
        for line in reversed(lines):
            try:
                last: dict[str, Any] = json.loads(line)
            except ValueError:
                continue
            return last
        return None

    def cut_stats(self, step: int) -> None:
        """Drops lines after `step`: the steps that a resumed run does again."""
        kept = [json.dumps(line) + "\n" for line in self.stats() if line["step"] <= step]
        _replace(self.path / "stats.jsonl", "".join(kept))

    @property
    def warnings_file(self) -> Path:
        return self.path / "warnings.txt"

    def warnings(self) -> list[str]:
        """What the workers warned of, each thing once."""
        try:
            return list(dict.fromkeys(self.warnings_file.read_text(encoding="utf-8").splitlines()))
        except FileNotFoundError:
            return []

    # Signals between the driver and the workers

    @property
    def finished(self) -> int | None:
        """The step at which the run was done, None while it is not."""
        try:
            step: int = json.loads((self.path / "finished.json").read_text(encoding="utf-8"))["step"]
        except FileNotFoundError:
            return None
        return step

    def finish(self, step: int) -> None:
        _write_json(self.path / "finished.json", {"step": step, "time": _now()})

    def ask_to_stop(self) -> None:
        """Has the workers save a checkpoint after the step they are at, and end."""
        (self.path / "stop").touch()

    @property
    def stop_asked(self) -> bool:
        return (self.path / "stop").exists()

    def fail(self, message: str) -> None:
        """Leaves word of a mistake that doing the same again would not mend."""
        _replace(self.path / "failed.txt", message)

    @property
    def failure(self) -> str | None:
        try:
            return (self.path / "failed.txt").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def discard_if_empty(self) -> None:
        """Removes the folder of a run that failed before it had anything to show."""
        if not self.checkpoints() and not self.stats():
            shutil.rmtree(self.path, ignore_errors=True)

    def clear_signals(self) -> None:
        """Takes back what earlier attempts left, before a new one starts."""
        for name in ("stop", "failed.txt", "finished.json"):
            (self.path / name).unlink(missing_ok=True)


def is_judged(record: Mapping[str, Any]) -> bool:
    """Whether a checkpoint's record says how good it is: of all steps between two checkpoints."""
    judged = record.get("judged", {})
    every = record.get("config", {}).get("logging", {}).get("checkpoint_every", 0)
    return bool(judged.get("by")) and 0 < every <= judged["steps"]


def _numbered(runs: Path) -> list[tuple[int, Path]]:
    if not runs.is_dir():
        return []
    named = ((re.match(r"(\d{4,})-", path.name), path) for path in runs.iterdir())
    return sorted((int(match[1]), path) for match, path in named if match)


def _provenance() -> dict[str, Any]:
    return {"started": _now(), "versions": versions(_PACKAGES), "commit": _commit()}


def _commit() -> str | None:
    """The commit of the package's git checkout, `+changes` where files differ; None outside of one."""
    package = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != package.parent:
            return None  # installed into a folder of somebody else's repository
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    _replace(path, json.dumps(value, indent=2) + "\n")


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
