"""The loss curves of a run as SVG that takes its colours from the page around it."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from art2real.training.curves import LOSSES, curves, plot

# Colours that no picture of ours uses, replaced by the page's own in the text of the SVG.
_INK, _FAINT = "#010203", "#010204"
_LINES = ("#010205", "#010206")
_VARIABLES = {_INK: "var(--ink)", _FAINT: "var(--line)", _LINES[0]: "var(--one)", _LINES[1]: "var(--two)"}


@dataclass(frozen=True)
class Chart:
    """One diagram: a title, a sentence on how to read it, and the SVG."""

    title: str
    note: str
    svg: str


def loss_charts(stats: list[dict[str, Any]]) -> list[Chart]:
    """Diagrams of the losses in a run's stats.jsonl; those without any value are left out."""
    drawn = ((panel, curves(stats, panel)) for panel in LOSSES)
    return [Chart(panel.title, panel.note, _draw(lines)) for panel, lines in drawn if lines]


def _draw(lines: dict[str, np.ndarray]) -> str:
    from matplotlib.figure import Figure
    from matplotlib.style import context

    settings = {
        "svg.fonttype": "none",  # text stays text, in the page's own font
        "svg.hashsalt": "art2real",
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "axes.edgecolor": _FAINT,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "xtick.labelsize": 11,
        "ytick.labelsize": 11,
        "legend.fontsize": 11,
    }
    with context(settings):
        figure = Figure(figsize=(4.6, 2.9), layout="constrained")
        axes = figure.add_subplot()
        plot(axes, lines, colours=_LINES, faint=_FAINT)
        if len(lines) > 1:
            axes.legend(frameon=False, loc="upper right", labelcolor=_INK)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return _for_page(out.getvalue())


def _for_page(svg: str) -> str:
    """The `<svg>` element alone, scaling with the page and in the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg
