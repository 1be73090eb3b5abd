"""`art2real-cli build-index`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from art2real.cli.common import address_option, counted, emit, json_option, progress


@click.command()
@click.argument("bank", type=click.Path(path_type=Path))
@click.option(
    "--factory",
    metavar="auto|SPEC",
    default="auto",
    show_default=True,
    help="Index type: auto, or a FAISS factory string such as PCA64,IVF4096,SQ8.",
)
@click.option(
    "--shards", default=1, show_default=True, type=click.IntRange(min=1), help="Index shards a scale."
)
@click.option(
    "--min-recall",
    default=0.95,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Recall@1 that searches are made thorough enough for.",
)
@click.option(
    "--min-contrast",
    metavar="LEVELS",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 255),
    help="Leave out patches that differ from the mean patch by less, in grey levels (root mean square).",
)
@click.option("--overwrite", is_flag=True, help="Replace an index that was built with other options.")
@click.option("--dry-run", is_flag=True, help="Say what would be built, without building.")
@address_option
@json_option
def command(
    bank: Path,
    factory: str,
    shards: int,
    min_recall: float,
    min_contrast: float,
    overwrite: bool,
    dry_run: bool,
    address: str | None,
    as_json: bool,
) -> None:
    """Build the nearest-neighbour index of every scale of the memory bank BANK.

    An interrupted build goes on where it was; a complete index is kept as it is.
    """
    from art2real.index.build import expected

    plans = expected(bank, factory, shards)  # refuses what is wrong before a cluster is started for it
    if dry_run:
        emit({"bank": str(bank), "index": plans}, as_json, "\n".join(map(_plan_line, plans)))
        return
    start = time.monotonic()

    from art2real.distributed.cluster import session

    with session(address), progress(None, "index steps") as bar:
        # Ray reads how it authenticates when it is imported, and the session decides that.
        from art2real.distributed.index_job import build_index

        summaries = build_index(
            bank,
            factory=factory,
            shards=shards,
            min_recall=min_recall,
            min_contrast=min_contrast,
            overwrite=overwrite,
            on_progress=bar.update,
        )
    for summary in summaries:
        if not summary["min_recall_reached"]:
            click.echo(_warning(summary), err=True)
    data = {"bank": str(bank), "index": summaries, "seconds": round(time.monotonic() - start, 1)}
    emit(data, as_json, "\n".join(map(_line, summaries)))


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
        f"{counted(plan['shards'], 'shard')}, about {plan['bytes'] / 2**20:,.0f} MiB"
    )


def _warning(summary: dict[str, Any]) -> str:
    return (
        f"warning: the index at scale {summary['size']}:{summary['stride']} ({summary['factory']}) finds "
        f"{summary['recall_at_1']:.3f} of the nearest rows, less than --min-recall "
        f"{summary['min_recall']:g}, with {summary['nprobe']} lists scanned; "
        "it can be used, or built again with a finer --factory"
    )
