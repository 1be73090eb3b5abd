"""Writes the demo's report: one HTML file that holds everything it shows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from art2real.data.manifest import write_text
from art2real.demo.charts import loss_charts
from art2real.demo.finished import Finished, Measured, Triple
from art2real.demo.picture import LABELS, spread
from art2real.demo.samples import COLUMNS, credits
from art2real.pages.page import data_uri, render

# Paintings shown at once; the others unfold.
_FIRST = 8


@dataclass(frozen=True)
class Shown:
    """A painting in the report: captions and data URIs of its pictures."""

    name: str
    pictures: list[tuple[str, str]]


def write_report(finished: Finished, patches: Image.Image | None) -> Path:
    """Writes `report.html`, and `report.json` with the same figures, and returns the former.

    Args:
        finished: what the demo made and measured.
        patches: a picture of one translation's patches with their nearest real ones.
    """
    result = finished.to_dict()
    write_text(finished.out / "report.json", json.dumps(result, indent=2) + "\n")
    html = render(
        "art2real.demo",
        "report.html.j2",
        _values(finished, result, patches),
        seconds=_seconds,
        change=_change,
        figure=lambda value: f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}",
    )
    write_text(finished.report, html)
    return finished.report


def _values(finished: Finished, result: dict[str, Any], patches: Image.Image | None) -> dict[str, Any]:
    first = spread(finished.triples, _FIRST)
    names = {triple.name for triple in first}
    total = sum(stage.seconds for stage in finished.stages)
    longest = max((stage.seconds for stage in finished.stages), default=1.0)
    schedule = finished.config.schedule
    return {
        "shown": [_show(triple) for triple in first],
        "more": [_show(triple) for triple in finished.triples if triple.name not in names],
        "own": finished.samples.truth is None,
        "trained_on": finished.samples.trained_on,
        "skipped": finished.samples.skipped,
        "counts": result["images"],
        "steps": result["steps"],
        "size": finished.samples.size,
        "distances": finished.distances,
        "verdicts": {
            verdict: [row.name.lower() for row in finished.distances if row.verdict == verdict]
            for verdict in ("nearer", "farther", "no clear change")
        },
        "charts": [
            {"title": chart.title, "note": chart.note, "svg": Markup(chart.svg)}
            for chart in loss_charts(finished.stats)
        ],
        "patches": None if patches is None else data_uri(patches),
        "stages": [{"stage": stage, "share": stage.seconds / longest} for stage in finished.stages],
        "total": total,
        "index": finished.index,
        "bank_photos": len(finished.bank.photos),
        "config": finished.config,
        "batch": schedule.batch_size,
        "settings": json.dumps(finished.config.model_dump(mode="json"), indent=2),
        "versions": finished.versions,
        "credits": credits(),
        "columns": len(COLUMNS),
    }


def _show(triple: Triple) -> Shown:
    pictures = [(label, data_uri(picture)) for label, picture in zip(LABELS, triple.pictures, strict=False)]
    return Shown(triple.name, pictures)


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 60 else f"{int(value // 60)} min {value % 60:.0f} s"


def _change(row: Measured) -> str:
    if not row.before:
        return "–"
    change, error = (100 * value / row.before for value in (row.after - row.before, row.error))
    return f"{change:+.0f} % (± {error:.0f})".replace("-", "−")
