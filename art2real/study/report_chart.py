"""Shares with their intervals, against the half that chance would give."""

from __future__ import annotations

from collections.abc import Sequence

from art2real.pages.svg import FAINT, INK, LINES, QUIET, SETTINGS, for_page
from art2real.study.preferences import Share


def share_chart(names: Sequence[str], shares: Sequence[Share]) -> str:
    """Each share as a dot on its two intervals, the clustered one thin and the Wilson one thick: an `<svg>`.

    Args:
        names: of the rows, from the top.
        shares: as many.
    """
    from matplotlib.figure import Figure
    from matplotlib.style import context

    with context(SETTINGS):
        figure = Figure(figsize=(4.6, 0.95 + 0.42 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(50, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
        for place, each in enumerate(shares):
            if each.interval is not None:
                ends = [100 * each.interval.low, 100 * each.interval.high]
                axes.plot(ends, [place, place], color=LINES[1], linewidth=1.6, marker="|", markersize=9)
            ends = [100 * each.wilson.low, 100 * each.wilson.high]
            axes.plot(ends, [place, place], color=LINES[1], linewidth=4.5, solid_capstyle="butt")
        dots = [100 * each.share for each in shares]
        axes.plot(dots, range(len(shares)), "o", color=LINES[0], markersize=7)
        axes.set_yticks(range(len(names)), [_short(name) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.set_xticks(range(0, 101, 25), ["0", "", "50 %", "", "100 %"])
        axes.set_xlabel("share of answers", color=INK, fontsize=11)
        axes.grid(axis="x", color=FAINT, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        return for_page(figure)


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:27]}…"
