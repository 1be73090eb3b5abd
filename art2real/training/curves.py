"""The curves of a run: which of its figures belong into one diagram, and how they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

_COLOURS = ("#1f6fb4", "#c8551b")
_SIZE = (4.6, 2.9)  # of one diagram, inches
_DOTS = 110  # an inch


@dataclass(frozen=True)
class Panel:
    """One diagram: a title, a sentence on how to read it, and by figure of a log line its label."""

    title: str
    note: str
    labels: Mapping[str, str]


LOSSES = (
    Panel(
        "There and back",
        "Difference between an image and itself after G and F. It falls as the networks learn to keep what "
        "is in the picture.",
        {"cycle_X": "painting", "cycle_Y": "photo"},
    ),
    Panel(
        "Critics",
        "G is judged by the critic of photos, D_Y. Near 0.25 neither of the two is winning.",
        {"adversarial_G": "G", "D_Y": "D_Y"},
    ),
    Panel(
        "Pull to real patches",
        "Contextual loss, summed over the scales: how unlike the bank's patches those of G are.",
        {"contextual": "contextual"},
    ),
    Panel(
        "Leave photos alone",
        "What G changes in a photo, and F in a painting: ideally nothing.",
        {"identity_X": "F, painting", "identity_Y": "G, photo"},
    ),
)
"""The diagrams that say how a run went."""

_MACHINERY = (
    Panel("Learning rate", "", {"learning_rate": "learning rate"}),
    Panel("Length of the gradients", "", {"generators": "generators", "discriminators": "discriminators"}),
    Panel("Steps a second", "", {"steps_per_second": "steps a second"}),
    Panel("Retrieval, seconds a step", "", {"retrieval_seconds": "work", "retrieval_waited": "waited for"}),
)


def curves(stats: Sequence[Mapping[str, Any]], panel: Panel) -> dict[str, np.ndarray]:
    """By label, steps and values `[n, 2]`; figures that no line of stats.jsonl has are left out."""
    lines = [(line["step"], {**line, **line.get("gradient_norms", {}), **line["losses"]}) for line in stats]
    found = {}
    for key, label in panel.labels.items():
        points = [(step, figures[key]) for step, figures in lines if key in figures]
        if points:
            found[label] = np.array(points, dtype=np.float64)
    return found


def plot(
    axes: Any, lines: Mapping[str, np.ndarray], *, colours: Sequence[str] = _COLOURS, faint: str = "#cccccc"
) -> None:
    """Draws `curves` into matplotlib's axes: as they were logged, pale, and their running means."""
    highest = 0.0
    for colour, (label, points) in zip(colours, lines.items(), strict=False):
        steps, values = points.T
        smooth = _smooth(values)
        axes.plot(steps, values, color=colour, linewidth=0.7, alpha=0.3)
        axes.plot(steps, smooth, color=colour, linewidth=1.8, label=label)
        highest = max(highest, float(np.quantile(values, 0.98)), float(smooth[-1]))
    axes.set_ylim(0, highest * 1.08 or 1.0)  # the first steps would press the rest flat
    axes.set_xlabel("step")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=faint, linewidth=0.6)
    axes.set_axisbelow(True)


def draw_curves(stats: Sequence[Mapping[str, Any]]) -> Image.Image:
    """All diagrams of a run on one sheet; `stats`: lines of stats.jsonl, at least one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = [(panel, curves(stats, panel)) for panel in (*LOSSES, *_MACHINERY)]
    drawn = [(panel, lines) for panel, lines in drawn if any(line[:, 1].any() for line in lines.values())]
    rows = -(-len(drawn) // 2)
    figure = Figure(figsize=(2 * _SIZE[0], rows * _SIZE[1]), dpi=_DOTS, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for number, (panel, lines) in enumerate(drawn, 1):
        axes = figure.add_subplot(rows, 2, number)
        axes.set_title(panel.title, fontsize=11)
        plot(axes, lines)
        if len(lines) > 1:
            axes.legend(frameon=False, loc="upper right")
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _smooth(values: np.ndarray) -> np.ndarray:
    """Running mean that is narrower at both ends."""
    reach = max(1, len(values) // 20)
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    first, last = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(values))
    return np.asarray((total[last] - total[first]) / (last - first))
