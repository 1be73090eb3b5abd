"""Diagrams as SVG that takes its colours from the page around it."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours that no picture of ours uses, replaced by the page's own in the text of the SVG.
INK, FAINT, QUIET = "#010203", "#010204", "#010207"
LINES = ("#010205", "#010206")
_VARIABLES = {
    INK: "var(--ink)",
    FAINT: "var(--line)",
    QUIET: "var(--quiet)",
    LINES[0]: "var(--one)",
    LINES[1]: "var(--two)",
}

SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text, in the page's own font
    "svg.hashsalt": "art2real",
    "text.parse_math": False,  # a name with dollar signs is no formula
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
}
"""For `matplotlib.style.context`, around the drawing and `for_page`."""


def for_page(figure: Figure) -> str:
    """The `<svg>` element of a figure drawn in the colours above: it scales with the page, in its colours."""
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg
