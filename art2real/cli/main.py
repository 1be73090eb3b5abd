"""`art2real-cli`: the commands, each loaded only when it is called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from art2real import __version__
from art2real.errors import UserError

# Name -> what `--help` says of it. The command itself is `command` in art2real/cli/NAME.py; its modules load
# torch, ray and faiss, which takes seconds, so the list must not import them.
COMMANDS = {
    "demo": "The whole pipeline on sample images; ends with a report.html.",
    "download": "Download a public data set by name, checked by hash.",
    "build-banks": "Build a memory bank of patches, and its index, from a folder of photos.",
    "build-index": "Build the nearest-neighbour index of a memory bank.",
    "inspect": "Describe, and verify, a memory bank, a run or a checkpoint.",
    "query": "Find the real patches nearest to those of an image.",
    "plan": "What a bank, its index and a training run will take: memory, disk, time, money.",
    "train": "Train a translation from paintings to photos.",
    "translate": "Translate paintings with a trained checkpoint.",
    "explain": "Which real photos each region of a translated painting was drawn from.",
    "serve": "Serve translations over HTTP, with a page to try it.",
    "export": "Write a generator for other programs: safetensors, ONNX, torch.export.",
    "style-transfer": "Stylise photos by paintings (Gatys), the baseline.",
    "evaluate": "How near sets of images are to photos: FID, KID and FD∞ at three levels.",
    "domain-shift": "How far sets of images are from photos, in features of photo-trained networks.",
    "study": "Ask people which pictures they choose: design, page and report of a study.",
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is run."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"art2real.cli.{name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="art2real-cli")
def cli() -> None:
    """Turns paintings into photo-realistic images, with retrieval of real photo patches."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and ends the process: 0 done, 1 failed, 2 wrong use, 130 interrupted.

    A user's mistake is one line on standard error; a traceback means a fault of this program.
    """
    try:
        code = cli.main(args=arguments, prog_name="art2real-cli", standalone_mode=False)
    except UserError as error:
        click.echo(f"art2real-cli: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        click.echo(f"art2real-cli: {error.format_message()}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("art2real-cli: interrupted", err=True)
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
