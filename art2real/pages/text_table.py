"""Tables of figures for a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, its first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return [
        f"  {row[0].ljust(widths[0])}  "
        + "  ".join(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in table
    ]


def figure(value: float) -> str:
    """A distance, with as many digits as are worth reading."""
    if value == 0 or abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.3g}"


def small(value: float) -> str:
    """A value that is usually far below one."""
    return f"{value:.4f}" if abs(value) >= 0.001 or value == 0 else f"{value:.1e}"
