"""`art2real-cli query`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from art2real.cli.common import emit, json_option
from art2real.cli.described.image import read_square
from art2real.errors import UsageError

if TYPE_CHECKING:
    from art2real.index.matches import DrawnPhoto, ScaleMatches


@click.command()
@click.argument("bank", type=click.Path(path_type=Path))
@click.argument("image", type=click.Path(path_type=Path))
@click.option(
    "-k",
    "neighbours",
    default=5,
    show_default=True,
    type=click.IntRange(min=1),
    help="Nearest real patches of each patch.",
)
@click.option("--out", metavar="FILE.png", type=click.Path(path_type=Path), help="Draw them into a picture.")
@json_option
def command(bank: Path, image: Path, neighbours: int, out: Path | None, as_json: bool) -> None:
    """Find the real patches of BANK nearest to patches of IMAGE.

    The centre of IMAGE is scaled to the size of the bank's photos. At each scale a few contrasty patches,
    spread over it, are shown with their nearest real patches. The picture also shows IMAGE rebuilt from the
    nearest real patch of each of its patches, and the photos that most of them come from.
    """
    if out is not None and out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: the picture is written as PNG; end its name in .png")

    from art2real.data.bank import MemoryBank
    from art2real.data.pictures import save_picture
    from art2real.index.matches import as_data, find_matches
    from art2real.index.picture import draw_matches
    from art2real.index.retriever import open_retriever

    opened = MemoryBank.open(bank)
    pixels = read_square(image, opened.image_size)
    retrievers = {scale: open_retriever(opened, scale) for scale in opened.scales}
    found = find_matches(opened, pixels, retrievers, k=neighbours)
    if out is not None:
        save_picture(draw_matches(opened, pixels, found), out)
    data = {
        "bank": str(bank),
        "image": str(image),
        "image_size": opened.image_size,
        "scales": as_data(found),
        "picture": None if out is None else str(out),
    }
    emit(data, as_json, _as_text(found, out))


def _as_text(found: list[ScaleMatches], out: Path | None) -> str:
    lines = []
    for each in found:
        lines.append(
            f"scale {each.scale}: nearest of {each.rows:,} real patches (cosine, photo, row, column)"
        )
        for match in each.matches:
            lines.append(f"  patch at row {match.y}, column {match.x}")
            lines += [
                f"    {neighbour.similarity:.3f}  {neighbour.source}  {neighbour.y}, {neighbour.x}"
                for neighbour in match.neighbours
            ]
        lines.append(f"  photos most drawn from, of {each.photos_used:,} (share of the image's patches)")
        lines += ["    " + "  ".join(_photo_cells(photo)) for photo in each.photos]
    if out is not None:
        lines.append(f"picture: {out}")
    return "\n".join(lines)


def _photo_cells(photo: DrawnPhoto) -> list[str]:
    known = (f"{photo.share:.1%}", photo.source, photo.licence, photo.attribution)
    return [cell for cell in known if cell]
