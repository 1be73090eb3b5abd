"""What each stage of the pipeline is called with, and whether its output is complete."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from art2real.cli import build_banks, build_index, evaluate, train, translate
from art2real.cli.job import make_context
from art2real.errors import UsageError, UserError

if TYPE_CHECKING:
    from art2real.config.tree import TrainingConfig
    from art2real.data.bank_target import Mode

# Beside an evaluation: what it was made of.
_STAMP = "made_of.json"
# Parameters of build-banks that decide the bank's settings.
_SETTINGS = ("scales", "size", "fit", "tile_stride", "no_resize", "min_side")


@dataclass(frozen=True)
class Stage:
    """A stage that has something to do."""

    context: click.Context
    arguments: list[str]
    on_done: Callable[[], None] = lambda: None


class Stages:
    """The stages over one folder, `out`.

    A stage is asked when those before it are done; it answers with what to do, or why there is nothing to do.
    """

    def __init__(
        self,
        *,
        photos: str,
        paintings: str,
        config_path: Path,
        overrides: tuple[str, ...],
        out: Path,
        real: str | None,
        wanted: bool | None,
        **options: str,
    ) -> None:
        self._photos, self._paintings = _place(photos), _place(paintings)
        self._real = None if real is None else _place(real)
        self._config_path, self._overrides = config_path, overrides
        self.out = out.absolute()
        self._wanted = wanted
        self._options = {name.removesuffix("_options"): _split(name, text) for name, text in options.items()}
        self._bank = self.out / "bank"

    def check(self) -> None:
        """Refuses wrong options of every stage before the first one begins.

        Raises:
            click.ClickException, UserError: as the stages do.
        """
        from art2real.data.corpus import list_entries

        list_entries(self._config.data.paintings, anonymous=self._config.data.anonymous)
        self._banks_stage()
        self._index_stage()
        translation = self._translate_stage(self.out).context
        evaluation = self._evaluate_stage().context
        if self._wanted is not False and translation.params["side_by_side"]:
            raise UsageError(
                "--translate-options --side-by-side: the pictures would be evaluated among the translations; "
                "leave it out, or give --no-evaluate"
            )
        if self._wanted is not False and (self._wanted or evaluation.params["files"]):
            self._weights(evaluation)
            for option, place in (("--photos", self._photos), ("--paintings", self._paintings)):
                if not Path(place).is_dir() and not (self._real and option == "--photos"):
                    raise UsageError(
                        f"{option} {place}: is no folder, so it cannot be evaluated with; "
                        "give --real DIR for the photos, or --no-evaluate"
                    )

    # The bank and its index

    def banks(self) -> Stage | str:
        from art2real.data.bank_target import bank_settings, read_building
        from art2real.data.manifest import read_manifest
        from art2real.data.sources import open_source

        if not self._retrieves:
            return "plain CycleGAN: contextual.weight is 0"
        stage = self._banks_stage()
        there = bank_settings(self._bank)
        if there is None:
            return stage
        given = stage.context.params
        mode: Mode = "overwrite" if given["overwrite"] else "resume"
        asked = build_banks.settings_of(self._bank, mode, **{name: given[name] for name in _SETTINGS})
        if asked.difference(there) is not None and mode == "overwrite":
            return stage
        if asked.difference(there) is None and read_building(self._bank) is None:
            origin = open_source(self._photos, leave_out=self._bank).origin
            if any(each.origin == origin for each in read_manifest(self._bank).inputs):
                return f"{self._bank} is complete"
        return self._banks_stage("--resume")

    def _banks_stage(self, *mode: str) -> Stage:
        options = self._options["banks"]
        if mode:
            options = [each for each in options if each != "--overwrite"]
        scales = self._config.contextual.scales
        if scales is not None and "--scale" not in options:
            options = [*options, *(part for scale in scales for part in ("--scale", scale))]
        arguments = [self._photos, "--out", str(self._bank), "--no-index", *mode, *options]
        return _stage(build_banks.command, "build-banks", arguments)

    def index(self) -> Stage | str:
        from art2real.index.order import expected

        if not self._retrieves:
            return "plain CycleGAN: contextual.weight is 0"
        stage = self._index_stage()
        params = dict(stage.context.params)
        for name in ("dry_run", "address", "as_json"):
            del params[name]
        if all(plan["complete"] for plan in expected(here=False, **params)):
            return f"the index of {self._bank} is complete"
        return stage

    def _index_stage(self) -> Stage:
        arguments = [str(self._bank), *self._options["index"]]
        return _stage(build_index.command, "build-index", arguments)

    # The run

    @property
    def _settings(self) -> list[str]:
        places = {
            "runs": self.out / "runs",
            "data.photos": self._photos,
            "data.paintings": self._paintings,
            "contextual.bank": self._bank,
        }
        # JSON is YAML in which no name of a file means anything else.
        return [*self._overrides, *(f"{key}={json.dumps(str(place))}" for key, place in places.items())]

    @cached_property
    def _config(self) -> TrainingConfig:
        from art2real.config.load import load_config

        return load_config(self._config_path, self._settings)

    @property
    def _retrieves(self) -> bool:
        return self._config.contextual.bank is not None and self._config.contextual.weight != 0

    def train(self) -> Stage | str:
        from art2real.training.plan import plan_run
        from art2real.training.resume import resume_run
        from art2real.training.run_folder import RunFolder

        config = self._config
        try:
            RunFolder.newest(config)
        except UserError:  # none was begun
            return self._train_stage()
        plan = plan_run(config)
        try:
            run = resume_run(config, plan)
        except UserError as error:
            raise type(error)(
                f"{error} (in a pipeline: another run has another name, --set name=NAME)"
            ) from None
        if run.finished is not None and run.finished >= plan.total_steps:
            return f"{run.path} is finished: {run.finished} steps"
        return self._train_stage("--resume")

    def _train_stage(self, *mode: str) -> Stage:
        arguments = ["--config", str(self._config_path)]
        for setting in self._settings:
            arguments += ["--set", setting]
        return _stage(train.command, "train", [*arguments, *mode])

    @property
    def _run(self) -> Path:
        from art2real.training.run_folder import RunFolder

        return RunFolder.newest(self._config).path

    # What comes out of it

    def translate(self) -> Stage | str:
        from art2real.translation.translate import plan_translation

        stage = self._translate_stage(self._run)
        params = dict(stage.context.params)
        images, out = params.pop("images"), params.pop("out")
        for name in ("checkpoints", "dry_run", "address", "as_json"):
            del params[name]
        plan = plan_translation(images, {"model": self._run}, out, **params)
        return stage if plan.to_do else f"{self._translated} has all {len(plan.pictures):,} translations"

    @property
    def _translated(self) -> Path:
        return self.out / "translated"

    def _translate_stage(self, run: Path) -> Stage:
        arguments = [self._paintings, "--checkpoint", str(run), "--out", str(self._translated)]
        return _stage(translate.command, "translate", [*arguments, *self._options["translate"]])

    def evaluate(self) -> Stage | str:
        if self._wanted is False:
            return "--no-evaluate"
        stage = self._evaluate_stage()
        if not self._wanted and not stage.context.params["files"]:
            try:
                self._weights(stage.context)
            except UserError as error:
                return f"not asked for with --evaluate, and {error}"
        made_of = self._made_of(stage.arguments)
        stamp = self._evaluation / _STAMP
        if (self._evaluation / "report.html").is_file() and stamp.is_file():
            try:
                if json.loads(stamp.read_text(encoding="utf-8")) == made_of:
                    return f"{self._evaluation} is complete"
            except ValueError:
                pass
        return Stage(stage.context, stage.arguments, partial(self._write_stamp, made_of))

    @property
    def _evaluation(self) -> Path:
        return self.out / "evaluation"

    def _evaluate_stage(self) -> Stage:
        arguments = ["--real", self._real or self._photos, "--out", str(self._evaluation)]
        arguments += ["--set", f"Paintings={self._paintings}", "--set", f"Translations={self._translated}"]
        return _stage(evaluate.command, "evaluate", [*arguments, *self._options["evaluate"]])

    def _weights(self, context: click.Context) -> None:
        from art2real.cli.feature_source import FeatureSource

        file = context.params["files"]
        files = {} if file is None else {"inception": Path(file)}
        FeatureSource(files, context.params["any_weights"], None).weights("inception")

    def _made_of(self, arguments: list[str]) -> dict[str, Any]:
        from art2real.data.checksums import file_sha256
        from art2real.translation.translations import RECORD

        return {"arguments": arguments, "translations": file_sha256(self._translated / RECORD)}

    def _write_stamp(self, made_of: dict[str, Any]) -> None:
        from art2real.data.manifest import write_text

        write_text(self._evaluation / _STAMP, json.dumps(made_of, indent=2) + "\n")


def _stage(command: click.Command, name: str, arguments: list[str]) -> Stage:
    if "--help" in arguments:
        raise UsageError(f"options of {name}: --help is none for a pipeline; see art2real-cli {name} --help")
    try:
        context = make_context(command, name, arguments)
    except click.ClickException as error:
        raise UsageError(f"options of {name}: {error.format_message()}") from None
    if context.params.get("dry_run"):
        raise UsageError(f"options of {name}: --dry-run is none for a pipeline; it would have no result")
    return Stage(context, arguments)


def _place(text: str) -> str:
    """A folder, absolute; anything else (a URI, a glob, a list) as it is."""
    return str(Path(text).absolute()) if "://" not in text else text


def _split(name: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--{name.replace('_', '-')} {text}: {str(error).lower()}") from None
