"""`art2real-cli domain-shift`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import click

from art2real.cli.common import address_option, counted, emit, human_seconds, json_option, progress
from art2real.cli.feature_source import FeatureSource, feature_options
from art2real.errors import UsageError, UserError

if TYPE_CHECKING:
    from art2real.evaluation.domain_shift import NetworkShift
    from art2real.evaluation.features import Features
    from art2real.evaluation.weights import Weights

_NETWORKS = ("vgg19", "resnet152")
_PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pillow", "ray")


@click.command()
@click.option(
    "--real",
    metavar="DIR",
    type=click.Path(path_type=Path),
    required=True,
    help="Photos that sets are compared with.",
)
@click.option(
    "--set",
    "sets",
    metavar="NAME=DIR",
    multiple=True,
    required=True,
    help="Images to compare with the photos, and their name; may be repeated.",
)
@click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path), required=True, help="Folder of the results."
)
@click.option(
    "--network",
    "networks",
    type=click.Choice(_NETWORKS),
    multiple=True,
    default=_NETWORKS,
    help="Whose features are compared; may be repeated.  [default: both]",
)
@click.option(
    "--max-images",
    metavar="N",
    type=click.IntRange(min=10),
    help="Draw so many images of each set at random.  [default: all]",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all that is random."
)
@feature_options(*_NETWORKS)
@address_option
@json_option
@click.option("--dry-run", is_flag=True, help="Say what would be computed, and how long that takes, and end.")
def command(
    real: Path,
    sets: tuple[str, ...],
    out: Path,
    networks: tuple[str, ...],
    max_images: int | None,
    seed: int,
    features: FeatureSource,
    address: str | None,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Measure how far sets of images are from photos, in features of networks trained on photos.

    \b
    art2real-cli domain-shift --real photos --set "Paintings=paintings" \\
        --set "Translated=translated" --out shift

    Of VGG-19 (fc7) and ResNet-152 (pool5) it writes, into OUT, report.html, domain-shift.json and .csv with
    Fréchet distances, MMD and the accuracy of a linear probe, and plots of all images by PCA and t-SNE (.png
    and .svg). The weights are torchvision's, in torch's cache or named with --weights.
    """
    folders = _folders(real, sets, out)
    names = _listed(folders)
    chosen = tuple(dict.fromkeys(networks))
    if dry_run:
        _say_plan(
            {name: min(len(each), max_images or len(each)) for name, each in names.items()},
            chosen,
            features,
            as_json,
        )
        return
    begun = time.perf_counter()

    from art2real.evaluation.domain_report import write_domain_shift
    from art2real.evaluation.domain_shift import DomainShift
    from art2real.evaluation.domain_table import as_text
    from art2real.versions import versions

    try:
        with _drawn(folders, names, max_images, seed, out) as places:
            extracted = _extract(folders, places, chosen, features, address)
        result = DomainShift(_measure(extracted, seed), seed, max_images, versions(_PACKAGES))
        files = write_domain_shift(result, out)
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror or error}") from None
    data = {**result.to_dict(), "files": files, "seconds": round(time.perf_counter() - begun, 1)}
    emit(data, as_json, f"{as_text(result)}\n\nreport: {files['report.html']}")


def _folders(real: Path, sets: Sequence[str], out: Path) -> dict[str, Path]:
    """The folders of the photos and of the sets by their names.

    Raises:
        UsageError: names or folders that would be mixed up.
    """
    from art2real.evaluation.domain_shift import PHOTOS
    from art2real.evaluation.sets import check_apart, parse_set
    from art2real.evaluation.shift import HALVES

    given = [parse_set(text) for text in sets]
    for each in given:
        if each.label.lower() in ("real", PHOTOS, HALVES):
            raise UsageError(
                f"--set {each.label}: that is what the photos of --real are called; take another name"
            )
        if not each.label.isprintable():
            raise UsageError(f"--set {each.label!r}: a name is a line of signs that can be printed")
    check_apart([("", real)], given)
    folders = {PHOTOS: real, **{each.label: each.folder for each in given}}
    for name, folder in folders.items():
        if out.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"--out {out} lies in {folder}: its plots would count as images of {name}")
    return folders


def _listed(folders: Mapping[str, Path]) -> dict[str, list[str]]:
    """The images of each folder; UserError if they are too few."""
    from art2real.data.corpus import list_images
    from art2real.evaluation.domain_shift import check_enough

    names = {name: list_images(folder) for name, folder in folders.items()}
    for name, images in names.items():
        check_enough(name, len(images), str(folders[name]))
    return names


@contextmanager
def _drawn(
    folders: Mapping[str, Path], names: Mapping[str, list[str]], most: int | None, seed: int, out: Path
) -> Iterator[dict[str, Path]]:
    """The folders with at most `most` images each; links to these lie in `out` for the time of the block."""
    from art2real.data.manifest import temporary_name
    from art2real.evaluation.subset import random_subset

    if most is None:
        yield dict(folders)
        return
    at = temporary_name(out / "drawn")
    try:
        yield {
            name: random_subset(folder, names[name], most, seed=seed, at=at / str(number))
            for number, (name, folder) in enumerate(folders.items())
        }
    finally:
        shutil.rmtree(at, ignore_errors=True)


def _extract(
    folders: Mapping[str, Path],
    places: Mapping[str, Path],
    networks: Sequence[str],
    source: FeatureSource,
    address: str | None,
) -> list[tuple[Weights, list[Features]]]:
    """By network, the features of all sets; UserError if a set has too few usable images."""
    from art2real.evaluation.domain_shift import check_enough

    # All are looked for before the first of them is put to work.
    weights = [source.weights(network) for network in networks]
    extracted = []
    with source.extractor(address) as extract:
        for each in weights:
            found = [
                replace(extract(f"{name} ({each.network})", places[name], each), name=name, place=str(folder))
                for name, folder in folders.items()
            ]
            for of in found:
                check_enough(of.name, len(of.images), of.place)
            extracted.append((each, found))
    return extracted


def _measure(extracted: Sequence[tuple[Weights, list[Features]]], seed: int) -> tuple[NetworkShift, ...]:
    from art2real.evaluation.domain_shift import measure_shift, steps_of

    steps = [steps_of(len(found) - 1) for _, found in extracted]
    done = count()
    with progress(sum(steps), "figures") as bar:
        return tuple(
            measure_shift(weights, photos, sets, seed=seed, on_step=lambda: bar.update(next(done) + 1))
            for weights, (photos, *sets) in extracted
        )


def _say_plan(counts: dict[str, int], networks: Sequence[str], source: FeatureSource, as_json: bool) -> None:
    total = sum(counts.values())
    rates = {network: source.rate(network) for network in networks}
    seconds = sum(total / rate for rate in rates.values())
    data = {
        "images": counts,
        "images_per_second": {network: round(rate, 2) for network, rate in rates.items()},
        "expected_seconds": round(seconds),
    }
    lines = [f"{name}: {counted(count, 'image')}" for name, count in counts.items()]
    lines += [
        f"features of {counted(total, 'image')} by {network} at {rate:.3g} a second on this machine"
        for network, rate in rates.items()
    ]
    lines.append(
        f"together {human_seconds(seconds)}, less for sets whose features are kept from an earlier call"
    )
    emit(data, as_json, "\n".join(lines))
