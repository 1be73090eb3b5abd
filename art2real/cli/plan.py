"""`art2real-cli plan`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import click

from art2real.cli.build_index import _Size
from art2real.cli.common import emit, json_option
from art2real.errors import UsageError


class _Sides(click.ParamType):
    """`4000x3000`: width and height in pixels."""

    name = "WIDTHxHEIGHT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", str(value))
        if match is None:
            self.fail(f"{value!r} is not WIDTHxHEIGHT; write for example 4000x3000", param, ctx)
        return int(match[1]), int(match[2])


@click.command()
@click.option("--photos", metavar="N", type=int, help="Photos of the bank; required but with --calibrate.")
@click.option(
    "--photo-size", type=_Sides(), help="Size of a photo's file, pixels.  [default: as stored: --size]"
)
@click.option("--size", type=int, default=256, show_default=True, help="Side of the stored squares, pixels.")
@click.option(
    "--scale",
    "scales",
    metavar="SIZE:STRIDE",
    multiple=True,
    help="Patch size and stride in pixels; may be repeated.  [default: 16:6 8:5 4:4]",
)
@click.option("--nodes", type=int, default=1, show_default=True, help="Nodes of the cluster, all alike.")
@click.option("--cpus", type=int, help="Cores of a node.  [default: of this machine]")
@click.option("--gpus", type=int, default=0, show_default=True, help="GPUs of a node.")
@click.option("--memory", type=_Size(), help="Memory of a node, such as 64GB.  [default: of this machine]")
@click.option(
    "--network",
    metavar="GBIT",
    type=float,
    default=10.0,
    show_default=True,
    help="Between nodes, and to shared storage, in Gbit/s.",
)
@click.option("--factory", metavar="auto|SPEC", default="auto", show_default=True, help="Index type.")
@click.option("--shards", type=int, help="Index shards a scale.  [default: a node each, or as memory needs]")
@click.option("--replicas", type=int, default=1, show_default=True, help="Processes that hold each shard.")
@click.option("--steps", type=int, help="Training steps.  [default: by --epochs]")
@click.option(
    "--epochs",
    type=int,
    default=200,
    show_default=True,
    help="Passes over the paintings or, if more, photos.",
)
@click.option("--paintings", metavar="N", type=int, default=1, help="Paintings that are trained on.")
@click.option("--crop", type=int, default=256, show_default=True, help="Side of a training crop, pixels.")
@click.option("--batch", type=int, default=1, show_default=True, help="Images a worker and step.")
@click.option("--price-node-hour", type=click.FloatRange(min=0), help="Price of a node for an hour.")
@click.option(
    "--price-gb-month", type=click.FloatRange(min=0), help="Price of a gigabyte of disk for a month."
)
@click.option("--calibrate", is_flag=True, help="Measure the constants on this machine, in a minute or two.")
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Where --calibrate writes them.")
@click.option(
    "--constants",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Constants of --calibrate.  [default: those that came with the program]",
)
@json_option
def command(
    photos: int | None,
    calibrate: bool,
    out: Path | None,
    constants: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Say what a bank, its index and a training run will take, before anything is started.

    Bytes are counted exactly; times are counts times constants, measured on the machine that the last line
    names. Prices are yours: without them no money is said.
    """
    if out is not None and not calibrate:
        raise UsageError("--out is where --calibrate writes: give both")
    if calibrate and constants is not None:
        raise UsageError("--calibrate measures constants, --constants reads them: give one of them")
    if calibrate and photos is None and out is None:
        raise UsageError("--calibrate needs --out FILE for the constants, or --photos N for a plan by them")
    if photos is None and not calibrate:
        raise UsageError("plan needs --photos N (or --calibrate --out FILE)")
    # Wrong options are said before a minute is spent.
    work = None if photos is None else _workload(photos, **given)

    from art2real.plan.constants import DEFAULT, read_constants
    from art2real.plan.plan import make_plan
    from art2real.plan.table import plan_as_text

    found = _measure(out) if calibrate else read_constants(constants or DEFAULT)
    if work is None:
        rows = [f"{name}  {each.value:.3g}" for name, each in found.constants.items()]
        emit(found.summary(), as_json, "\n".join([f"{found.machine}, {found.date}", *rows]))
        return
    plan = make_plan(work, found)
    emit(plan.summary(), as_json, plan_as_text(plan))


def _measure(out: Path | None) -> Any:
    """Constants of this machine, written to `out`."""
    from art2real.errors import UserError
    from art2real.plan.calibrate import calibrate

    if out is not None and not out.parent.is_dir():
        raise UserError(f"{out}: there is no folder {out.parent}; make it first")
    found = calibrate(lambda words: click.echo(f"measuring: {words}", err=True))
    if out is not None:
        try:
            out.write_text(found.to_json(), encoding="utf-8")
        except OSError as error:
            raise UserError(f"{out}: cannot be written: {error.strerror}") from None
    return found


def _workload(
    photos: int,
    *,
    photo_size: tuple[int, int] | None,
    size: int,
    scales: tuple[str, ...],
    nodes: int,
    cpus: int | None,
    gpus: int,
    memory: int | None,
    network: float,
    factory: str,
    shards: int | None,
    replicas: int,
    price_node_hour: float | None,
    price_gb_month: float | None,
    **training: Any,
) -> Any:
    from art2real.core.scale import Scale
    from art2real.data.manifest import DEFAULT_SCALES
    from art2real.plan.workload import Machines, Prices, Training, Workload

    try:
        chosen = tuple(Scale.parse(text) for text in scales) or DEFAULT_SCALES
    except ValueError as error:
        raise UsageError(f"--scale: {error}") from None
    return Workload(
        photos=photos,
        machines=Machines(
            nodes=nodes,
            cpus=(os.cpu_count() or 1) if cpus is None else cpus,
            gpus=gpus,
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if memory is None else memory,
            network=network * 1e9,
        ),
        size=size,
        scales=chosen,
        photo=photo_size,
        factory=factory,
        shards=shards,
        replicas=replicas,
        training=Training(**training),
        prices=Prices(price_node_hour, price_gb_month),
    )
