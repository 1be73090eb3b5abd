"""All stages in order, for `jobs/pipeline.py`: bank, index, training, translation, evaluation.

Each stage is the command of that name. What an earlier submission finished is skipped, and what it began goes
on, so that the same submission again is the way out of every failure.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from art2real.cli.common import address_option
from art2real.cli.job import INTERRUPTED, run_stage
from art2real.cli.stages import Stages
from art2real.errors import UserError

# The stages that take options beside those of the pipeline, and their commands.
_OPTIONS = {
    "banks": "build-banks",
    "index": "build-index",
    "translate": "translate",
    "evaluate": "evaluate",
}


class _StageFailedError(UserError):
    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def _failed(stage: str, message: str, exit_code: int) -> _StageFailedError:
    return _StageFailedError(
        f"{stage} failed: {message}. Once that is mended, submit the same again to go on", exit_code
    )


def _more_options(command: Any) -> Any:
    for stage, name in reversed(_OPTIONS.items()):
        command = click.option(
            f"--{stage}-options",
            metavar="OPTIONS",
            default="",
            help=f"More options of {name}, in quotes.",
        )(command)
    return command


@click.command()
@click.option("--photos", metavar="PHOTOS", required=True, help="What build-banks takes.")
@click.option("--paintings", metavar="IMAGES", required=True, help="Paintings to train on and to translate.")
@click.option(
    "--config",
    "config_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    required=True,
    help="YAML file with the run's settings; its folders are replaced by those given here.",
)
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change a setting of the run. May be repeated.",
)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for everything: DIR/bank, runs, translated, evaluation.",
)
@click.option("--real", metavar="DIR", help="Photos to evaluate with.  [default: --photos]")
@click.option(
    "--evaluate/--no-evaluate",
    "wanted",
    default=None,
    help="Evaluate, or do not.  [default: where the weights of Inception are there]",
)
@_more_options
@address_option
@click.pass_context
def command(context: click.Context, **given: Any) -> None:
    """Build the bank and its index, train, translate and evaluate: what is complete is skipped.

    The same call again goes on where this one ended.
    """
    del given["address"]  # the job is connected to it
    pipeline = Stages(**given)
    stages = {
        "banks": pipeline.banks,
        "index": pipeline.index,
        "train": pipeline.train,
        "translate": pipeline.translate,
        "evaluate": pipeline.evaluate,
    }
    pipeline.check()
    done: dict[str, str] = {}
    for stage, find in stages.items():
        try:
            found = find()
        except UserError as error:
            context.obj.say(stage, "failed", exit_code=error.exit_code, message=str(error))
            raise _failed(stage, str(error), error.exit_code) from None
        if isinstance(found, str):
            context.obj.say(stage, "skipped", reason=found)
            done[stage] = "skipped"
            continue
        ended = run_stage(context.obj, stage, found.context, found.arguments)
        if ended.code == INTERRUPTED:
            raise KeyboardInterrupt
        if ended.code:
            raise _failed(stage, ended.message, ended.code)
        found.on_done()
        done[stage] = "done"
    click.echo(json.dumps({"stages": done, "out": str(pipeline.out)}))
