"""The loss curves of a run for the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from art2real.pages.svg import FAINT, INK, LINES, SETTINGS, for_page
from art2real.training.curves import LOSSES, curves, plot


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

    with context(SETTINGS):
        figure = Figure(figsize=(4.6, 2.9), layout="constrained")
        axes = figure.add_subplot()
        plot(axes, lines, colours=LINES, faint=FAINT)
        if len(lines) > 1:
            axes.legend(frameon=False, loc="upper right", labelcolor=INK)
        return for_page(figure)
