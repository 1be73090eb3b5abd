"""The report as one HTML page that holds all it shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from art2real.pages.page import render
from art2real.study import report_tables
from art2real.study.report_chart import share_chart

if TYPE_CHECKING:
    from art2real.study.report import Report

_FILTERS: tuple[Callable[..., str], ...] = (
    report_tables.alpha_cell,
    report_tables.brackets,
    report_tables.difference_name,
    report_tables.group_name,
    report_tables.p_value,
    report_tables.percent,
    report_tables.point_brackets,
    report_tables.points,
    report_tables.row_name,
    report_tables.seconds,
)


def report_page(report: Report, design_sha256: str) -> str:
    """The HTML of a report.

    Args:
        report: the figures.
        design_sha256: of the design's file, so that the page says which design it reports on.
    """
    column = report_tables.COLUMNS[report.kind]
    values: dict[str, Any] = {
        "report": report,
        "found": report.findings,
        "counted": len(report.began) - len(report.excluded),
        "title": report_tables.TITLES[report.kind],
        "column": column[0].upper() + column[1:],
        "generated": report.kind == "real-vs-generated",
        "design_sha256": design_sha256,
        "chart": None,
    }
    if report.findings is not None:
        rows = report.findings.shares
        names = [report_tables.row_name(each) for each in rows]
        values["chart"] = Markup(share_chart(names, rows))
    filters = {each.__name__: each for each in _FILTERS}
    return render("art2real.study", "report.html.j2", values, **filters)
