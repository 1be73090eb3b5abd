"""Writes a measurement of domain shift: JSON, CSV, plots, and one HTML page with all of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

from art2real.data.manifest import temporary_name, write_text
from art2real.evaluation.domain_shift import DomainShift, NetworkShift
from art2real.evaluation.domain_table import as_csv, cells
from art2real.evaluation.probe import FOLDS, REPEATS
from art2real.evaluation.scatter import COLOURS, Scatter, as_page_svg, as_png, as_svg
from art2real.pages.page import render


def write_domain_shift(result: DomainShift, out: Path) -> dict[str, str]:
    """Writes `domain-shift.json` and `.csv`, plots as PNG and SVG, and `report.html`.

    Args:
        result: the figures.
        out: the folder; it is made where it is missing. Files of these names are replaced.

    Returns:
        The paths of the files by their names.

    Raises:
        OSError: it cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    plots = {
        f"{kind}-{each.network}": scatter
        for each in result.networks
        for kind, scatter in _plots(each).items()
    }
    files: dict[str, str | bytes] = {}
    for name, scatter in plots.items():
        files[f"{name}.png"] = as_png(scatter)
        files[f"{name}.svg"] = as_svg(scatter)
    files["domain-shift.json"] = json.dumps(result.to_dict(), indent=2) + "\n"
    files["domain-shift.csv"] = as_csv(result)
    pages = {name: Markup(as_page_svg(scatter)) for name, scatter in plots.items()}
    files["report.html"] = render("art2real.evaluation", "domain_report.html.j2", _values(result, pages))
    for name, content in files.items():
        if isinstance(content, str):
            write_text(out / name, content)
        else:
            _write_bytes(out / name, content)
    return {name: str(out / name) for name in files}


def _plots(each: NetworkShift) -> dict[str, Scatter]:
    sha256 = each.weights.sha256[:12]
    warning = "" if each.weights.published else f"NOT the published weights, sha256 {sha256}…"
    one, two = (
        f"component {number}, {100 * share:.1f} % of the variance"
        for number, share in enumerate(each.components.explained[:2], 1)
    )
    return {
        "pca": Scatter(
            f"{each.title}: principal components",
            warning,
            each.of_each(each.components.points[:, :2]),
            (one, two),
        ),
        "tsne": Scatter(f"{each.title}: t-SNE", warning, each.of_each(each.neighbourhoods.points), None),
    }


def _values(result: DomainShift, pages: dict[str, Markup]) -> dict[str, Any]:
    return {
        "warning": result.warning,
        "notes": result.notes,
        "colours": COLOURS,
        "photos": len(result.groups[0].images),
        "networks": [
            {
                "title": each.title,
                "dimensions": each.dimensions,
                "rows": [
                    {"row": row, "cells": cells(row), "reference": row is each.halves}
                    for row in (*each.rows, each.halves)
                ],
                "pca": pages[f"pca-{each.network}"],
                "tsne": pages[f"tsne-{each.network}"],
                "perplexity": each.neighbourhoods.perplexity,
                "weights": each.weights,
            }
            for each in result.networks
        ],
        "matched": result.networks[0].halves.images_matched,
        "permutations": result.networks[0].halves.mmd.permutations,
        "folds": FOLDS,
        "repeats": REPEATS,
        "sets": [
            {
                "name": of.name,
                "place": of.place,
                "images": len(of.images),
                "formats": ", ".join(
                    f"{kind} {count}" for kind, count in of.settings.get("formats", {}).items()
                ),
            }
            for of in result.groups
        ],
        "skipped": [f"{of.name}: {file}: {reason}" for of in result.groups for file, reason in of.skipped],
        "seed": result.seed,
        "max_images": result.max_images,
        "versions": result.versions,
    }


def _write_bytes(path: Path, content: bytes) -> None:
    temporary = temporary_name(path)
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
