"""`art2real-cli style-transfer`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from art2real.cli.common import address_option, counted, emit, human_seconds, json_option, progress
from art2real.errors import UsageError

if TYPE_CHECKING:
    from art2real.evaluation.style_pairs import StyleSettings
    from art2real.evaluation.style_transfer import Plan, Stylised


@click.command()
@click.option(
    "--content", metavar="DIR", type=click.Path(path_type=Path), required=True, help="Folder of photos."
)
@click.option(
    "--style", metavar="DIR", type=click.Path(path_type=Path), required=True, help="Folder of paintings."
)
@click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path), required=True, help="Folder for the results."
)
@click.option("--size", type=int, help="Shorter side of the results, pixels.  [default: 256]")
@click.option("--steps", type=int, help="Iterations of L-BFGS for each photo.  [default: 300]")
@click.option(
    "--style-weight",
    type=float,
    help="Weight of the style; the content's is 1.  [default: 100000, for 256 pixels]",
)
@click.option("--seed", type=int, help="Of the pairing.  [default: 0]")
@click.option(
    "--weights",
    "weights_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Weights of VGG-19, where they are not in torch's cache.",
)
@click.option(
    "--any-weights", is_flag=True, help="Take other weights than the published ones; the results say so."
)
@click.option("--overwrite", is_flag=True, help="Make all results in --out anew.")
@click.option("--dry-run", is_flag=True, help="Say what would be made and how long it takes.")
@address_option
@json_option
def command(
    content: Path,
    style: Path,
    out: Path,
    weights_file: Path | None,
    any_weights: bool,
    overwrite: bool,
    dry_run: bool,
    address: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Stylise photos by paintings: the baseline of Gatys, Ecker and Bethge (CVPR 2016).

    Each photo gets the style of one painting; all paintings are used equally often. Who got which is in
    OUT/pairs.json. The results have the names of their photos, with .png. The same call again goes on where
    an interrupted one was.
    """
    from art2real.evaluation.style_transfer import plan_transfer
    from art2real.evaluation.weights import find_weights

    settings = _settings(chosen)
    weights = find_weights("vgg19", weights_file, any_weights=any_weights)
    with progress(None, "paintings checked") as bar:
        plan = plan_transfer(
            content, style, out, settings, weights, overwrite=overwrite, on_checked=bar.update
        )
    for each in plan.pairs.left_out:
        _say_left_out(style / each.style, each.reason)
    if dry_run:
        _say_plan(plan, as_json)
    else:
        _say_result(plan, _run(plan, address), as_json)


def _settings(chosen: dict[str, Any]) -> StyleSettings:
    from pydantic import ValidationError

    from art2real.evaluation.style_pairs import StyleSettings

    try:
        return StyleSettings(**{name: value for name, value in chosen.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        option = f"--{str(first['loc'][0]).replace('_', '-')}"
        raise UsageError(f"{option} {first['input']}: {first['msg']}") from None


def _run(plan: Plan, address: str | None) -> Stylised:
    from art2real.distributed.cluster import session
    from art2real.evaluation.style_transfer import stylise_folder

    with ExitStack() as stack, progress(len(plan.pairs.pairs), "photos") as bar:

        def on_cluster(job: Any, pairs: Any) -> Any:
            if not pairs:
                return iter(())
            stack.enter_context(session(address))
            # Only now: Ray reads its environment, which the session sets, when it is imported.
            from art2real.distributed.style_job import stylise_on_cluster

            return stylise_on_cluster(job, pairs)

        return stylise_folder(
            plan,
            do_pairs=on_cluster,
            on_progress=bar.update,
            on_skip=lambda photo, reason: _say_left_out(plan.job.content / photo, reason),
        )


def _say_left_out(path: Path, reason: str) -> None:
    from art2real.data.corpus import printable

    click.echo(f"{printable(str(path))} is left out: {reason}", err=True)


def _data(plan: Plan) -> dict[str, Any]:
    from art2real.evaluation.style_pairs import PAIRS

    pairs = plan.pairs
    return {
        "photos": len(pairs.pairs),
        "paintings": len({pair.style for pair in pairs.pairs}),
        "paintings_left_out": [{"file": each.style, "reason": each.reason} for each in pairs.left_out],
        "pairs": str(plan.job.out / PAIRS),
        "settings": pairs.settings.model_dump(),
        "weights": {
            "path": str(plan.job.weights.path),
            "sha256": pairs.weights_sha256,
            "published": pairs.published,
        },
    }


def _note(plan: Plan) -> str:
    return "" if plan.pairs.published else "; the weights are not the published ones"


def _say_result(plan: Plan, result: Stylised, as_json: bool) -> None:
    data = {
        "made": result.made,
        "kept": result.kept,
        "skipped": [{"file": photo, "reason": reason} for photo, reason in result.skipped],
        **_data(plan),
        "seconds": round(result.seconds, 1),
    }
    kept = f", {result.kept:,} there already" if result.kept else ""
    left_out = f", {len(result.skipped):,} left out" if result.skipped else ""
    text = f"{counted(result.made, 'photo')} stylised into {plan.job.out}{kept}{left_out}{_note(plan)}"
    emit(data, as_json, text)


def _say_plan(plan: Plan, as_json: bool) -> None:
    import torch

    from art2real.distributed.cluster import cores
    from art2real.evaluation.stylist import Stylist, best_device

    missing = len(plan.missing)
    device = best_device()
    workers = min(missing, 1 if device.type == "cuda" else cores())
    if missing:
        # As a worker does.
        torch.set_num_threads(1)
        each = Stylist(plan.job, device).seconds(plan.missing)
    else:
        each = 0.0
    seconds = each * missing / max(1, workers)
    data = {
        "to_make": missing,
        "kept": len(plan.kept),
        **_data(plan),
        "seconds_each": round(each, 2),
        "estimated_seconds": round(seconds),
        "device": device.type,
    }
    paintings = counted(int(data["paintings"]), "painting")
    text = (
        f"{plan.job.out}: {counted(missing, 'photo')} to stylise by {paintings}, {len(plan.kept):,} there "
        f"already; about {human_seconds(each)} each, {human_seconds(seconds)} in all here{_note(plan)}"
    )
    emit(data, as_json, text)
