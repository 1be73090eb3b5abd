"""Writes an evaluation: JSON, CSV, and one HTML page that holds everything it shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from art2real.data.manifest import write_text
from art2real.evaluation.chart import interval_chart
from art2real.evaluation.evaluate import (
    LEVELS,
    Evaluation,
    Row,
    as_csv,
    fid_cell,
    infinity_cell,
    kid_cell,
)
from art2real.evaluation.grid import GridRow, grid_rows
from art2real.evaluation.scores import Score
from art2real.evaluation.sets import ImageSet
from art2real.pages.page import data_uri, render

_GRID_ROWS, _GRID_SIZE = 6, 192


def write_evaluation(evaluation: Evaluation, shown: Sequence[ImageSet], out: Path) -> dict[str, str]:
    """Writes `evaluation.json`, `evaluation.csv` and `report.html` into a folder; returns their paths.

    Args:
        evaluation: the figures.
        shown: the sets whose images of one name are shown side by side, in the order of the columns.
        out: the folder; it is made where it is missing.

    Raises:
        OSError: it cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = {name: out / name for name in ("evaluation.json", "evaluation.csv", "report.html")}
    write_text(files["evaluation.json"], json.dumps(evaluation.to_dict(), indent=2) + "\n")
    write_text(files["evaluation.csv"], as_csv(evaluation))
    page = render("art2real.evaluation", "report.html.j2", _values(evaluation, shown))
    write_text(files["report.html"], page)
    return {name: str(path) for name, path in files.items()}


def _values(evaluation: Evaluation, shown: Sequence[ImageSet]) -> dict[str, Any]:
    features = {
        **{f"photos of {artist}" if artist else "photos": of for artist, of in evaluation.real.items()},
        **evaluation.features,
    }
    weights = evaluation.weights
    kind = "published" if weights.published else "NOT the published ones"
    settings = next(iter(features.values())).settings
    return {
        "notes": evaluation.notes,
        "levels": LEVELS,
        "artists": [_artist(evaluation, artist, shown) for artist in evaluation.artists],
        "resize": {"size": settings["image_size"], "filter": settings["resize"]},
        "network": "the FID's Inception (torch-fidelity)",
        "weights": f"{kind}, sha256 {weights.sha256}",
        "measures": evaluation.measures,
        "sets": [
            {
                "name": name,
                "place": of.place,
                "images": len(of.images),
                "skipped": of.skipped,
                "formats": ", ".join(f"{kind} {count}" for kind, count in of.settings["formats"].items()),
            }
            for name, of in features.items()
        ],
        "skipped": [f"{name}: {file}: {why}" for name, of in features.items() for file, why in of.skipped],
        "versions": evaluation.versions,
    }


def _artist(evaluation: Evaluation, artist: str, shown: Sequence[ImageSet]) -> dict[str, Any]:
    rows = [row for row in evaluation.rows if row.set.artist == artist]
    names = [row.set.name for row in rows]
    columns = [each for each in shown if each.artist in ("", artist)]
    grid = grid_rows(columns, most=_GRID_ROWS, size=_GRID_SIZE)
    columns = [each for each in columns if any(each.name in row.pictures for row in grid)]
    return {
        "name": artist,
        "photos": len(evaluation.real_of(artist).images),
        "tables": [
            _table(title, note, cell, key, rows)
            for title, note, cell, key in _tables()
            if any(key(each) is not None for row in rows for each in row.scores)
        ],
        "charts": [
            {"level": level, "svg": Markup(interval_chart(names, [row.scores[at] for row in rows]))}
            for at, level in enumerate(LEVELS)
        ],
        "columns": [each.name for each in columns],
        "grid": [_grid_row(row, columns) for row in grid],
    }


def _tables() -> list[tuple[str, str, Callable[[Score], str], Callable[[Score], float | None]]]:
    return [
        (
            "FID",
            "Fréchet Inception distance and its 95 % interval.",
            fid_cell,
            lambda score: score.fid,
        ),
        (
            "FD∞",
            "The same, extrapolated to as many images as one likes.",
            infinity_cell,
            lambda score: score.fd_infinity,
        ),
        (
            "KID",
            "Kernel Inception distance: not biased by few images.",
            lambda score: f"{kid_cell(score)} ({score.kid_subset_size:,})",
            lambda score: score.kid,
        ),
    ]


def _table(
    title: str,
    note: str,
    cell: Callable[[Score], str],
    key: Callable[[Score], float | None],
    rows: Sequence[Row],
) -> dict[str, Any]:
    least = [_least([row.scores[at] for row in rows], key) for at in range(len(LEVELS))]
    return {
        "title": title,
        "note": note,
        "rows": [
            {
                "name": row.set.name,
                "images": row.scores[0].images,
                "cells": [
                    {
                        "text": cell(each),
                        "least": key(each) is not None and key(each) == least[at],
                    }
                    for at, each in enumerate(row.scores)
                ],
            }
            for row in rows
        ],
    }


def _least(scores: Sequence[Score], key: Callable[[Score], float | None]) -> float | None:
    """The least value of a column, where its values may be compared."""
    values = [value for each in scores if (value := key(each)) is not None]
    biased = any(each.too_few for each in scores) and len({each.images for each in scores}) > 1
    return None if len(values) < 2 or biased else min(values)


def _grid_row(row: GridRow, columns: Sequence[ImageSet]) -> dict[str, Any]:
    pictures = [row.pictures.get(each.name) for each in columns]
    return {"name": row.name, "pictures": ["" if pixels is None else data_uri(pixels) for pixels in pictures]}
