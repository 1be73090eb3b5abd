"""Lines of text that stand under each other."""

from __future__ import annotations

from collections.abc import Sequence

_LABEL = 12


def labelled(label: str, values: str | Sequence[str]) -> str:
    """One value a line, all in one column; the label stands before the first."""
    lines = [values] if isinstance(values, str) else list(values)
    return "\n".join(f"{label if number == 0 else '':<{_LABEL}}{line}" for number, line in enumerate(lines))


def columns(rows: Sequence[Sequence[str]], align: str) -> list[str]:
    """Rows of cells as lines; `align` has `<` or `>` for each column. Two spaces part the columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
