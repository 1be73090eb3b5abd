"""Distances of sets with their intervals, one diagram a level."""

from __future__ import annotations

from collections.abc import Sequence

from art2real.evaluation.scores import Score
from art2real.pages.svg import FAINT, INK, LINES, SETTINGS, for_page


def interval_chart(names: Sequence[str], scores: Sequence[Score]) -> str:
    """The FID of each set at one level as a dot on its 95 % interval: an `<svg>` for a page."""
    from matplotlib.figure import Figure
    from matplotlib.style import context

    with context(SETTINGS):
        figure = Figure(figsize=(4.6, 0.75 + 0.42 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        for place, each in enumerate(scores):
            if each.fid_low is not None and each.fid_high is not None:
                axes.plot([each.fid_low, each.fid_high], [place, place], color=LINES[1], linewidth=2)
        axes.plot([each.fid for each in scores], range(len(scores)), "o", color=LINES[0], markersize=7)
        axes.set_yticks(range(len(names)), [_short(name) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.set_xlabel("FID, lower is nearer to photos", color=INK, fontsize=11)
        axes.grid(axis="x", color=FAINT, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        return for_page(figure)


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"
