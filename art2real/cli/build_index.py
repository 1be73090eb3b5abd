"""`art2real-cli build-index`."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from art2real.cli.common import address_option, counted, emit, human_bytes, json_option, progress


class _Size(click.ParamType):
    """`16GB`, `500 MB`: bytes in decimal units."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d+(?:\.\d+)?) *([kMGT]?)B", str(value).strip())
        if match is None:
            self.fail(f"{value!r} is not a size; write for example 16GB", param, ctx)
        return int(float(match[1]) * 1000 ** " kMGT".index(match[2] or " "))


@click.command()
@click.argument("bank", type=click.Path(path_type=Path))
@click.option(
    "--factory",
    metavar="auto|SPEC",
    help="Index type: auto, or a FAISS factory string such as PCA64,IVF4096,SQ8.  [default: auto]",
)
@click.option(
    "--memory",
    type=_Size(),
    help="Most that the indexes of all scales may take; auto chooses by it.  [default: half of what is free]",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "gpu"]),
    default="cpu",
    show_default=True,
    help="gpu: only types that can be searched on a GPU.",
)
@click.option("--shards", type=click.IntRange(min=1), help="Index shards a scale.  [default: 1]")
@click.option(
    "--min-recall",
    type=click.FloatRange(0, 1),
    help="Recall@1 that searches are made thorough enough for.  [default: 0.95]",
)
@click.option(
    "--min-contrast",
    metavar="LEVELS",
    type=click.FloatRange(0, 255),
    help="Leave out patches that differ from the mean patch by less, in grey levels (root mean square).  "
    "[default: 1]",
)
@click.option("--overwrite", is_flag=True, help="Replace an index that was built with other options.")
@click.option("--dry-run", is_flag=True, help="Say what would be built, without building.")
@address_option
@json_option
def command(
    bank: Path,
    device: str,
    overwrite: bool,
    dry_run: bool,
    address: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Build the nearest-neighbour index of every scale of the memory bank BANK.

    An interrupted build goes on where it was; a complete index is kept as it is. To one whose bank was
    appended to, the new patches are added. Options that are left out are then those of that index.
    """
    from art2real.index.order import expected

    options = {"device": device, "overwrite": overwrite, **given}
    # A cluster elsewhere has memory of its own.
    plans = expected(
        bank, here=dry_run or address is None, **options
    )  # refuses what is wrong before a cluster is started for it
    if dry_run:
        emit({"bank": str(bank), "index": plans}, as_json, "\n".join(map(_plan_line, plans)))
        return
    start = time.monotonic()

    from art2real.distributed.cluster import session

    with session(address), progress(None, "index steps") as bar:
        # Ray reads how it authenticates when it is imported, and the session decides that.
        from art2real.distributed.index_job import build_index

        summaries = build_index(bank, **options, on_progress=bar.update)
    warn(summaries)
    data = {"bank": str(bank), "index": summaries, "seconds": round(time.monotonic() - start, 1)}
    emit(data, as_json, "\n".join(map(_line, summaries)))


def warn(summaries: Sequence[dict[str, Any]]) -> None:
    """Says on standard error which indexes find less than they should."""
    for summary in summaries:
        where = f"warning: the index at scale {summary['size']}:{summary['stride']} ({summary['factory']})"
        if not summary["min_recall_reached"]:
            click.echo(
                f"{where} finds {summary['recall_at_1']:.3f} of the nearest rows, less than --min-recall "
                f"{summary['min_recall']:g}, with {counted(summary['nprobe'], 'list')} scanned; it can be "
                "used, or built again with a finer --factory or more --memory",
                err=True,
            )
        if summary["drifted"]:
            click.echo(
                f"{where} was trained before {counted(summary['rows_added'], 'row')} of another kind came "
                f"in: the quantizer has drifted, recall@1 is lower by {summary['drift']:.3f} with as many "
                "lists scanned; build it anew with --overwrite",
                err=True,
            )


def _line(summary: dict[str, Any]) -> str:
    left_out = summary["left_out"]
    return (
        f"{summary['size']}:{summary['stride']}  {summary['factory']}, {summary['rows']:,} rows in "
        f"{counted(summary['shards'], 'shard')}, {summary['bytes_per_row']:g} bytes "
        f"a row, recall@1 {summary['recall_at_1']:.3f}, recall@5 {summary['recall_at_5']:.3f} with "
        f"{summary['nprobe']} lists scanned, {summary['queries_per_second']:,.0f} queries/s"
        + (f", {counted(left_out, 'near-constant row')} left out" if left_out else "")
    )


def _plan_line(plan: dict[str, Any]) -> str:
    return (
        f"{plan['size']}:{plan['stride']}  {plan['factory']}, {plan['rows']:,} rows in "
        f"{counted(plan['shards'], 'shard')}, "
        + (
            f"complete, {human_bytes(plan['bytes'])}"
            if plan["complete"]
            else f"about {human_bytes(plan['bytes'])}, {human_bytes(plan['memory'])} of memory to build"
        )
    )
