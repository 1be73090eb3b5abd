"""`art2real-cli study`: create, links, serve, report."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from art2real.cli.common import counted, emit, json_option, progress
from art2real.cli.named import parse_named
from art2real.cli.token import read_token
from art2real.errors import UsageError, UserError

if TYPE_CHECKING:
    from art2real.study.create import Created
    from art2real.study.design import Exclusion

Command = TypeVar("Command", bound=Callable[..., Any])

_TOKEN = "ART2REAL_ADMIN_TOKEN"


def _database_option(command: Command) -> Command:
    return click.option(
        "--database",
        metavar="URL",
        help="Where the answers are, as postgresql+psycopg://...  [default: STUDY/answers.sqlite]",
    )(command)


_study = click.argument("study", metavar="STUDY", type=click.Path(path_type=Path))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Ask people which of two pictures they choose: design, page, report.

    \b
    art2real-cli study create --type realism --set "CycleGAN=cyclegan" --set "Ours=translated" \\
        --trials 30 --out mystudy
    art2real-cli study links mystudy --count 50
    art2real-cli study serve mystudy
    art2real-cli study report mystudy
    """


@command.command(short_help="Make a study: pictures under random names, and its design.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(("realism", "coherency", "real-vs-generated")),
    required=True,
    help="What is asked: which looks more real, which shows the painting better, which is the real photo.",
)
@click.option(
    "--set",
    "sets",
    metavar="NAME=DIR",
    multiple=True,
    required=True,
    help="Results of a system, and its name; may be repeated. Images are matched by name.",
)
@click.option(
    "--paintings", metavar="DIR", type=click.Path(path_type=Path), help="Shown beside them, for coherency."
)
@click.option("--real", metavar="DIR", type=click.Path(path_type=Path), help="Photos, for real-vs-generated.")
@click.option("--trials", type=click.IntRange(min=1), required=True, help="Judged trials a participant.")
@click.option(
    "--attention",
    type=click.IntRange(0, 100),
    default=3,
    show_default=True,
    help="Attention checks a participant: trials with an answer that cannot be missed.",
)
@click.option(
    "--practice", type=click.IntRange(0, 100), default=3, show_default=True, help="Practice trials before."
)
@click.option(
    "--size",
    type=click.IntRange(32, 2048),
    default=256,
    show_default=True,
    help="Side of the pictures, pixels; real-vs-generated shows 2/3 and 1/2 of it as well.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of order and sides.")
@click.option(
    "--language",
    "languages",
    metavar="CODE",
    multiple=True,
    default=("en", "it"),
    help="Language of the page; may be repeated, the first is the default.  [default: en, it]",
)
@click.option(
    "--participants", type=click.IntRange(min=1), help="How many are planned: the power with these is told."
)
@click.option(
    "--max-attention-failures",
    type=click.IntRange(min=0),
    help="Exclude who fails more checks.  [default: a third of them]",
)
@click.option(
    "--min-median-ms",
    type=click.IntRange(min=0),
    default=500,
    show_default=True,
    help="Exclude whose median time is below, milliseconds.",
)
@click.option(
    "--min-answered",
    type=click.FloatRange(0, 1),
    default=0.8,
    show_default=True,
    help="Exclude who answered a smaller share of the trials.",
)
@click.option(
    "--out", metavar="STUDY", type=click.Path(path_type=Path), required=True, help="New folder of the study."
)
@json_option
def create(
    kind: Any,
    sets: tuple[str, ...],
    languages: tuple[str, ...],
    attention: int,
    max_attention_failures: int | None,
    min_median_ms: int,
    min_answered: float,
    out: Path,
    as_json: bool,
    **choices: Any,
) -> None:
    """Make a study: its pictures under random names, and its design, fixed before the first answer.

    The design says who sees what in which order, who will be excluded, and how many participants are needed
    for which effect. It says which system made what as well: keep STUDY/design.json from participants.
    """
    folders = {name: Path(folder) for name, folder in _named(sets).items()}

    from art2real.study.create import create_study
    from art2real.study.design import Exclusion
    from art2real.study.plan import Plan

    failures = attention // 3 if max_attention_failures is None else max_attention_failures
    exclusion = Exclusion(
        max_attention_failures=failures, min_median_ms=min_median_ms, min_answered_share=min_answered
    )
    plan = Plan(
        kind=kind,
        sets=folders,
        exclusion=exclusion,
        attention=attention,
        languages=tuple(dict.fromkeys(languages)),
        **choices,
    )
    with progress(None, "images") as bar:
        created = create_study(plan, out, bar.update)
    _say_created(created, as_json)


def _named(sets: tuple[str, ...]) -> dict[str, str]:
    for text in sets:
        if "=" not in text or Path(text).exists():
            raise UsageError(f'--set {text}: write NAME=DIR, for example "Ours={text}"')
    return parse_named(sets, "--set", "Ours")


def _say_created(created: Created, as_json: bool) -> None:
    from art2real.study.power import as_lines

    design = created.design
    images = len({trial.item for trial in design.judged})
    for each in design.left_out:
        click.echo(f"{each}: left out", err=True)
    data = {
        "study": str(created.study),
        "design": str(created.study / "design.json"),
        "type": design.kind,
        "systems": design.systems,
        "sizes": design.sizes,
        "images": images,
        "different_trials": len(design.judged),
        "trials_each": design.trials_each,
        "attention_each": design.attention_each,
        "practice_each": design.practice_each,
        "exclusion": design.exclusion.model_dump(mode="json"),
        "power": design.power.model_dump(mode="json"),
        "left_out": design.left_out,
        "notes": created.notes,
    }
    lines = [
        f"{design.kind}: {counted(images, 'image')} of {', '.join(design.systems)}, "
        f"{counted(len(design.judged), 'different trial')}",
        f"a participant sees {counted(design.trials_each, 'trial')}, "
        f"{counted(design.attention_each, 'attention check')} and "
        f"{counted(design.practice_each, 'practice trial')}",
        _exclusion(design.exclusion),
        *(f"note: {note}" for note in created.notes),
        "",
        *as_lines(design.power),
        "",
        f"design: {data['design']} (which system made what: keep it from participants)",
    ]
    emit(data, as_json, "\n".join(lines))


def _exclusion(rule: Exclusion) -> str:
    return (
        f"excluded: more than {counted(rule.max_attention_failures, 'failed check')}, a median below "
        f"{rule.min_median_ms} ms, or less than {rule.min_answered_share:.0%} of the trials answered"
    )


@command.command(short_help="Print links for new participants.")
@_study
@click.option("--count", type=click.IntRange(1, 100_000), required=True, help="How many.")
@_database_option
@click.option(
    "--base-url",
    default="http://127.0.0.1:8100",
    show_default=True,
    help="Where participants reach the page.",
)
def links(study: Path, count: int, database: str | None, base_url: str) -> None:
    """Print new participants' links, one a line; they are not kept, so store them."""
    from art2real.study.links import make_links

    for link in make_links(study, database=database, count=count, base_url=base_url):
        click.echo(link)


@command.command(short_help="Serve the participants' page.")
@_study
@_database_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8100, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on."
)
@click.option(
    "--open", "open_enrolment", is_flag=True, help="Whoever opens the page may take part, without a link."
)
@click.option(
    "--admin-token-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help=f"Holds the token of the administrator's page.  [default: the variable {_TOKEN}, or no such page]",
)
def serve(
    study: Path,
    database: str | None,
    host: str,
    port: int,
    open_enrolment: bool,
    admin_token_file: Path | None,
) -> None:
    """Serve the participants' page until Ctrl-C or SIGTERM; what was answered is kept."""
    token = read_token(admin_token_file, "--admin-token-file", _TOKEN)

    from art2real.study.server import serve_study

    serve_study(
        study,
        database=database,
        host=host,
        port=port,
        admin_token=token,
        open_enrolment=open_enrolment,
        on_ready=lambda address: click.echo(f"serving {study} at {address} (Ctrl-C stops)", err=True),
    )


@command.command(short_help="Say what was chosen, with intervals and tests.")
@_study
@_database_option
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of the report.  [default: STUDY/report]",
)
@json_option
def report(study: Path, database: str | None, out: Path | None, as_json: bool) -> None:
    """Say what was chosen: shares with intervals, tests, agreement, exclusions; as HTML, JSON and CSV."""
    from art2real.study.report import write_report
    from art2real.study.store import Store

    with closing(Store.open(study, database)) as store:
        answers, participants = store.answers(), store.participants()
    target = study / "report" if out is None else out
    try:
        result = write_report(study, answers, participants, target)
    except OSError as error:
        raise UserError(f"--out {target} cannot be written: {error.strerror or error}") from None
    emit(result.to_dict(), as_json, f"{result.as_text()}\n\nreport: {target / 'report.html'}")
