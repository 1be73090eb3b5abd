"""`art2real-cli explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from art2real.cli.common import counted, emit, json_option
from art2real.errors import UsageError, UserError

if TYPE_CHECKING:
    from art2real.translation.explain import Explanation

# Photos named at each scale.
_NAMED = 5


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option(
    "--checkpoint",
    metavar="CKPT",
    type=click.Path(path_type=Path),
    required=True,
    help="A run folder (its newest checkpoint is taken) or a checkpoint folder.",
)
@click.option(
    "--bank", metavar="BANK", type=click.Path(path_type=Path), required=True, help="Folder of the bank."
)
@click.option(
    "--out", metavar="FILE.html", type=click.Path(path_type=Path), required=True, help="The page to write."
)
@click.option(
    "-k",
    "neighbours",
    default=3,
    show_default=True,
    type=click.IntRange(1, 20),
    help="Nearest real patches of each region.",
)
@click.option(
    "--regions",
    default=1024,
    show_default=True,
    type=click.IntRange(1, 16384),
    help="Most regions that the picture is divided into.",
)
@json_option
def command(
    image: Path, checkpoint: Path, bank: Path, out: Path, neighbours: int, regions: int, as_json: bool
) -> None:
    """Show which real photos each region of a translated painting was drawn from.

    IMAGE, of any size, is translated. The page is one file that needs nothing else. For each region of the
    result it shows the nearest real patches of BANK at each scale, the photos they come from and who made
    these, and the photos most drawn from.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {out}: the page is written as HTML; end its name in .html")

    import torch

    from art2real import load_generator
    from art2real.data.bank import MemoryBank
    from art2real.data.images import BadImage, ImageLimits, decode
    from art2real.data.manifest import write_text
    from art2real.index.retriever import open_retriever
    from art2real.translation.explain import explain
    from art2real.translation.explanation_page import explanation_page
    from art2real.translation.image import translate_image

    try:
        painting = decode(image, ImageLimits(min_side=1))
    except BadImage as error:
        raise UserError(f"image {image} cannot be used: {error}") from None
    opened = MemoryBank.open(bank)
    smallest = min(scale.size for scale in opened.scales)
    if min(painting.shape[:2]) < smallest:
        height, width = painting.shape[:2]
        raise UserError(
            f"image {image} has {width}x{height} pixels, less than the smallest patch of bank {bank}, "
            f"{smallest}x{smallest}; give a larger image"
        )
    retrievers = {scale: open_retriever(opened, scale) for scale in opened.scales}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    translation = translate_image(load_generator(checkpoint).to(device), painting)
    found = explain(translation, opened, retrievers, k=neighbours, regions=regions)
    page = explanation_page(found, painting, translation, name=image.name, checkpoint=str(checkpoint))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, page)
    except OSError as error:
        raise UserError(f"page {out} cannot be written: {error.strerror or error}") from None
    data = {
        "image": str(image),
        "checkpoint": str(checkpoint),
        "bank": str(bank),
        "page": str(out),
        **found.to_dict(pictures=False),
    }
    emit(data, as_json, _as_text(found, out))


def _as_text(found: Explanation, out: Path) -> str:
    lines = [
        f"{counted(found.regions.count, 'region')} of {found.regions.side} x {found.regions.side} pixels"
    ]
    for number, each in enumerate(found.scales):
        used = [photo for photo in found.photos if photo.shares[number]]
        used.sort(key=lambda photo: -photo.shares[number])
        lines.append(
            f"scale {each.scale}: drawn from {counted(len(used), 'photo')}, most from (share of the regions)"
        )
        for photo in used[:_NAMED]:
            known = (f"{photo.shares[number]:.1%}", photo.source, photo.licence, photo.attribution)
            lines.append("  " + "  ".join(cell for cell in known if cell))
    lines.append(f"page: {out}")
    return "\n".join(lines)
