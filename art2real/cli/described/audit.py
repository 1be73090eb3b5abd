"""How true a memory bank's index and the estimators of the affinity are to all its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from art2real.cli.described.image import read_square
from art2real.cli.described.table import columns, labelled

if TYPE_CHECKING:
    import numpy as np

    from art2real.core.scale import Scale
    from art2real.index.source import RetrievedScale

OnPart = Callable[[float], None]
"""Called with the part of the work that is done, from 0 to 1."""


def audit_bank(
    path: Path,
    indexes: Sequence[dict[str, Any]],
    files: Sequence[Path],
    out: Path | None,
    on_part: OnPart,
) -> dict[str, Any]:
    """Audits every scale of a bank, and draws an affinity matrix of the first image at the middle one.

    Args:
        indexes: what is said of the bank's indexes, one a scale.
        files: images to audit with; none: made from photos of the bank.
        out: where the picture is written; None: nowhere.
        on_part: is told of progress.

    Raises:
        UserError: a scale has no index or a damaged one, an image cannot be used, or the picture cannot be
            written.
    """
    import numpy as np

    from art2real.data.bank import MemoryBank
    from art2real.index.fidelity import compare, generator_like
    from art2real.index.retriever import open_retriever
    from art2real.index.shares import copies_share, plain_share
    from art2real.index.source import RetrievedScale

    bank = MemoryBank.open(path)
    read = [read_square(file, bank.image_size) for file in files]
    images = np.stack(read) if read else generator_like(bank)
    sources = {scale: RetrievedScale(bank, scale, open_retriever(bank, scale)) for scale in bank.scales}
    if out is not None:  # first: a file that cannot be written is not found out after minutes
        middle = bank.scales[len(bank.scales) // 2]
        _draw(sources[middle], middle, images[0], out)
    entries = []
    for number, (scale, source) in enumerate(sources.items()):
        [index] = [each for each in indexes if (each["size"], each["stride"]) == (scale.size, scale.stride)]
        compared = compare(source, scale, images, on_part=_piece(on_part, number, len(sources)))
        entries.append(
            {
                "size": scale.size,
                "stride": scale.stride,
                "rows": source.rows,
                "recall_at_1": index["recall_at_1"],
                "recall_at_5": index["recall_at_5"],
                "nprobe": index["nprobe"],
                "queries_per_second": index["queries_per_second"],
                "index_bytes_per_row": index["bytes_per_row"],
                "near_constant": {
                    "left_out": round(index["left_out"] / source.rows, 6),
                    "left_out_below": index["min_contrast"],
                    "plain": round(plain_share(bank, scale), 6),
                },
                "duplicates": round(copies_share(bank, scale), 6),
                "patches": compared.patches,
                "patches_compared": compared.compared,
                "gradient_share_compared": round(compared.gradient_share, 6),
                "estimators": [_rounded(asdict(each)) for each in compared.estimators],
            }
        )
    return {"audit_images": {"count": len(images), "files": list(map(str, files))}, "audit": entries}


def _piece(on_part: OnPart, number: int, pieces: int) -> OnPart:
    """Progress in one of several equal pieces of the work."""
    return lambda part: on_part((number + part) / pieces)


def audit_as_text(data: dict[str, Any]) -> str:
    """`audit_bank` for people."""
    images = data["audit_images"]
    made = f"with {images['count']} photos of the bank, mirrored, median filter of 5 pixels, blurred"
    return "\n".join(
        [labelled("audit", images["files"] or made), *(_scale_as_text(entry) for entry in data["audit"])]
    )


def _scale_as_text(entry: dict[str, Any]) -> str:
    near = entry["near_constant"]
    compared, patches = entry["patches_compared"], entry["patches"]
    which, seconds = "", "seconds: for an image"
    if compared < patches:
        which = f", those that the loss pulls most: {entry['gradient_share_compared']:.0%} of the gradient"
        seconds = "seconds of exact: for the compared ones"
    table = [("estimator", "loss", "error", "gradient cosine", "seconds")] + [
        (
            each["name"],
            f"{each['loss']:.3f}",
            f"{each['loss_error']:.3f}",
            f"{each['gradient_cosine']:.3f}",
            f"{each['seconds']:.2f}",
        )
        for each in entry["estimators"]
    ]
    lines = [
        f"recall@1 {entry['recall_at_1']:.3f}, recall@5 {entry['recall_at_5']:.3f} at {entry['nprobe']} "
        f"probes, {entry['queries_per_second']:,.0f} queries/s, {entry['index_bytes_per_row']:g} bytes a row",
        f"{near['left_out']:.2%} of rows left out: within {near['left_out_below']:g} of 255 grey levels "
        "of the mean patch",
        f"{near['plain']:.2%} of rows plain: less than 1 grey level of contrast of their own",
        f"{entry['duplicates']:.2%} of rows are copies of others, byte for byte",
        f"compared at {compared:,} of {patches:,} patches of each image{which}",
        f"({seconds})",
        *columns(table, "<>>>>"),
    ]
    return labelled(f"{entry['size']}:{entry['stride']}", lines)


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: round(each, 6) if isinstance(each, float) else each for name, each in figures.items()}


def _draw(source: RetrievedScale, scale: Scale, image: np.ndarray, out: Path) -> None:
    from art2real.data.pictures import save_picture
    from art2real.index.affinity_picture import affinity_panels, draw_affinity
    from art2real.index.exact import ExactRetriever

    panels = affinity_panels(source, ExactRetriever(source.bank, scale), scale, image)
    save_picture(draw_affinity(panels, scale), out)
