"""The loss curves of a run as SVG that takes its colours from the page around it."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

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


_PANELS = (
    (
        "There and back",
        "Difference between an image and itself after G and F. It falls as the networks learn to keep what "
        "is in the picture.",
        {"cycle_X": "painting", "cycle_Y": "photo"},
    ),
    (
        "Critics",
        "G is judged by the critic of photos, D_Y. Near 0.25 neither of the two is winning.",
        {"adversarial_G": "G", "D_Y": "D_Y"},
    ),
    (
        "Pull to real patches",
        "Contextual loss, summed over the scales: how unlike the bank's patches those of G are.",
        {"contextual": "contextual"},
    ),
    (
        "Leave photos alone",
        "What G changes in a photo, and F in a painting: ideally nothing.",
        {"identity_X": "F, painting", "identity_Y": "G, photo"},
    ),
)


def loss_charts(stats: list[dict[str, Any]]) -> list[Chart]:
    """Diagrams of the losses in a run's stats.jsonl; those without any value are left out."""
    charts = []
    for title, note, names in _PANELS:
        curves = {}
        for key, label in names.items():
            points = [(line["step"], line["losses"][key]) for line in stats if key in line["losses"]]
            if points:
                curves[label] = np.array(points, dtype=np.float64)
        if curves:
            charts.append(Chart(title, note, _draw(curves)))
    return charts


def _draw(curves: dict[str, np.ndarray]) -> str:
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
        highest = 0.0
        for colour, (label, points) in zip(_LINES, curves.items(), strict=False):
            steps, values = points.T
            smooth = _smooth(values)
            axes.plot(steps, values, color=colour, linewidth=0.7, alpha=0.3)
            axes.plot(steps, smooth, color=colour, linewidth=1.8, label=label)
            highest = max(highest, float(np.quantile(values, 0.98)), float(smooth[-1]))
        axes.set_ylim(0, highest * 1.08 or 1.0)  # the first steps would press the rest flat
        axes.set_xlabel("step")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=_FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        if len(curves) > 1:
            axes.legend(frameon=False, loc="upper right", labelcolor=_INK)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return _for_page(out.getvalue())


def _smooth(values: np.ndarray) -> np.ndarray:
    """Running mean that is narrower at both ends."""
    reach = max(1, len(values) // 20)
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    first, last = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(values))
    return np.asarray((total[last] - total[first]) / (last - first))


def _for_page(svg: str) -> str:
    """The `<svg>` element alone, scaling with the page and in the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg
