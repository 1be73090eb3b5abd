"""Scatter plots of sets of images, photos in the background."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from art2real.pages.svg import FAINT, INK, QUIET, SETTINGS, for_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b4fa8")
"""Of the sets: Okabe and Ito's, which people tell apart whatever colours they see, and a violet."""
# As many as have no common divisor with the colours: pairs begin again after 56 sets.
_MARKERS = ("^", "s", "D", "v", "P", "X", "<", ">")
_PHOTOS, _ALARM = "#8c8c8c", "#c03030"
# Points above which an SVG holds them as pixels: so many shapes would make a browser slow.
_MOST_SHAPES = 5000
_WIDTH, _LEGEND_ROW = 5.6, 0.24  # inches
_DOTS = 160  # an inch
_LONGEST_NAME = 44


@dataclass(frozen=True)
class Scatter:
    """What one plot shows."""

    title: str
    warning: str
    """Under the title, in red; empty for none."""
    groups: tuple[tuple[str, np.ndarray], ...]
    """Names and points `[N, 2]`; the first are the photos."""
    axes: tuple[str, str] | None
    """Labels; None if directions and distances have no meaning, so that there are no ticks either."""


def as_png(scatter: Scatter) -> bytes:
    """The plot as a PNG on white."""
    with _drawing(scatter, {}) as figure:
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=_DOTS, metadata={"Software": None})
        return out.getvalue()


def as_svg(scatter: Scatter) -> bytes:
    """The plot as an SVG on white, text as text, the same bytes for the same points."""
    with _drawing(scatter, {}) as figure:
        out = io.BytesIO()
        figure.savefig(out, format="svg", dpi=_DOTS, metadata={"Date": None})
        return out.getvalue()


def as_page_svg(scatter: Scatter) -> str:
    """The plot as an `<svg>` element for a page of ours, in its colours.

    A set's colour is the page's variable `--set-N`, where it has one.
    """
    with _drawing(scatter, {"ink": INK, "faint": FAINT, "quiet": QUIET}) as figure:
        svg = for_page(figure)
    svg = svg.replace(_ALARM, "var(--bad)")
    for number, colour in enumerate(COLOURS):
        svg = svg.replace(colour, f"var(--set-{number}, {colour})")
    return svg


@contextmanager
def _drawing(scatter: Scatter, colours: dict[str, str]) -> Iterator[Figure]:
    from matplotlib.style import context

    # A sign that the font does not have is a box in the PNG; a line in the terminal would not mend it.
    with context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield _figure(scatter, **colours)


def _figure(
    scatter: Scatter, *, ink: str = "#23211d", faint: str = "#ddd8cc", quiet: str = "#6a655b"
) -> Figure:
    from matplotlib.figure import Figure

    names = [_label(name, len(points)) for name, points in scatter.groups]
    columns = 1 if max(map(len, names)) > 32 else 2
    height = _WIDTH + 0.2 + _LEGEND_ROW * math.ceil(len(names) / columns) + 0.25 * bool(scatter.warning)
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    total = sum(len(points) for _, points in scatter.groups)
    for number, (_, points) in enumerate(scatter.groups):
        axes.scatter(*points.T, **_style(number, total), rasterized=total > _MOST_SHAPES)
    axes.set_aspect("equal", adjustable="datalim")
    if scatter.axes is None:
        axes.set_xticks([])
        axes.set_yticks([])
    else:
        axes.set_xlabel(scatter.axes[0], color=ink, fontsize=11)
        axes.set_ylabel(scatter.axes[1], color=ink, fontsize=11)
        axes.tick_params(colors=quiet, labelcolor=quiet, labelsize=9)
    for spine in axes.spines.values():
        spine.set_color(faint)
    figure.suptitle(scatter.title, fontsize=12, color=ink)
    if scatter.warning:
        axes.set_title(scatter.warning, fontsize=9, color=_ALARM)
    # As many labels as handles of any text, and then the names: one that begins with _ would be left out.
    legend = figure.legend(
        axes.collections, ["."] * len(names), loc="outside lower center", ncols=columns, frameon=False
    )
    for text, handle, name, number in zip(
        legend.get_texts(), legend.legend_handles, names, range(len(names)), strict=True
    ):
        text.set(text=name, color=ink, fontsize=10)
        assert handle is not None
        handle.set(alpha=1, rasterized=False, **({"sizes": [36]} if number else {"sizes": [30]}))
    return figure


def _style(number: int, total: int) -> dict[str, Any]:
    """How the points of a group are drawn: smaller and paler the more there are."""
    crowd = min(1.0, math.sqrt(400 / total))
    common = {"s": max(4.0, 34 * crowd), "zorder": 1 + number}
    if number == 0:
        return {**common, "marker": "o", "color": _PHOTOS, "alpha": 0.3 + 0.3 * crowd, "linewidths": 0}
    return {
        **common,
        "marker": _MARKERS[(number - 1) % len(_MARKERS)],
        "color": COLOURS[(number - 1) % len(COLOURS)],
        "alpha": 0.45 + 0.4 * crowd,
        "linewidths": 0,
    }


def _label(name: str, count: int) -> str:
    short = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
    return f"{short}, N = {count:,}"
