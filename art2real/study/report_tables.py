"""The figures of a study as tables, for machines and for a terminal."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from art2real.pages.text_table import aligned
from art2real.study.clustered import Interval
from art2real.study.design import REAL
from art2real.study.findings import Group
from art2real.study.preferences import Difference, Share

if TYPE_CHECKING:
    from art2real.study.report import Report

TITLES = {
    "realism": "Which looks more real?",
    "coherency": "Which fits the painting better?",
    "real-vs-generated": "Which is the real photo?",
}
COLUMNS = {
    "realism": "chosen as more real",
    "coherency": "chosen as fitting better",
    "real-vs-generated": "taken for the real photo",
}


def as_csv(report: Report) -> str:
    """One line for each row of the table: those who count first, then, where some do not, everyone."""
    out = io.StringIO()
    rows = [_csv_row("counted", each) for each in (report.findings.shares if report.findings else ())]
    rows += [_csv_row("everyone", each) for each in report.everyone]
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _csv_row(who: str, share: Share) -> dict[str, Any]:
    interval = share.interval
    return {
        "answers_of": who,
        "system": share.name,
        "against": share.against or "all others",
        "size": "all" if share.size is None else share.size,
        "chosen": share.chosen,
        "answers": share.answers,
        "participants": share.participants,
        "images": share.images,
        "photos": share.photos,
        "share": share.share,
        "clustered_low": "" if interval is None else interval.low,
        "clustered_high": "" if interval is None else interval.high,
        "wilson_low": share.wilson.low,
        "wilson_high": share.wilson.high,
        "p_participants": share.participants_p,
        "p_binomial": share.binomial_p,
    }


def as_text(report: Report) -> str:
    """Tables for a terminal: shares, differences, agreement and times, exclusions."""
    counted = len(report.began) - len(report.excluded)
    lines = [
        TITLES[report.kind],
        f"{counted} participants count, of {len(report.began)} who began and {report.enrolled} enrolled",
        "",
    ]
    if report.findings is not None:
        found = report.findings
        lines += [*share_lines(COLUMNS[report.kind], found.shares), ""]
        if found.differences:
            lines += [*_difference_lines(found.differences), ""]
        lines += [*_group_lines(found.groups), ""]
        lines.append(
            f"The left picture was chosen {percent(found.left.share)} {brackets(found.left.interval)}."
        )
    if report.everyone:
        lines += ["", "Everyone, those who are excluded too", *share_lines("chosen", report.everyone), ""]
        lines += [
            f"Excluded: participant {each.participant}: {'; '.join(each.reasons)}" for each in report.excluded
        ]
    return "\n".join([*lines, *(f"Note: {note}." for note in report.notes)])


def share_lines(title: str, shares: tuple[Share, ...]) -> list[str]:
    """The published table."""
    head = [title, "share", "95 % [clustered]", "95 % [Wilson]", "answers", "people", "images"]
    head += ["p (people)", "p (binomial)"]
    table = [
        [
            row_name(each) + " †" * bool(each.few),
            percent(each.share),
            brackets(each.interval),
            brackets(each.wilson),
            f"{each.answers:,}",
            f"{each.participants:,}",
            f"{each.images:,}",
            p_value(each.participants_p),
            p_value(each.binomial_p),
        ]
        for each in shares
    ]
    return aligned([head, *table])


def _difference_lines(differences: tuple[Difference, ...]) -> list[str]:
    head = ["difference", "points", "95 % [clustered]", "people", "p (people)"]
    table = [
        [
            difference_name(each),
            points(each.difference),
            point_brackets(each.interval),
            f"{each.participants:,}",
            p_value(each.participants_p),
        ]
        for each in differences
    ]
    return aligned([head, *table])


def _group_lines(groups: tuple[Group, ...]) -> list[str]:
    head = ["agreement and time", "alpha [95 %]", "same choice", "images", "median", "quartiles"]
    table = []
    for each in groups:
        low, middle, high = each.reaction_ms
        same = each.agreement.same
        table.append(
            [
                group_name(each),
                alpha_cell(each),
                "–" if same is None else percent(same),
                f"{each.agreement.items:,}",
                seconds(middle),
                f"{seconds(low)} to {seconds(high)}",
            ]
        )
    return aligned([head, *table])


def row_name(each: Share) -> str:
    """What was chosen, over what."""
    if each.against == REAL:
        return each.name + ("" if each.size is None else f", {each.size} px")
    return f"{each.name} over {each.against}" if each.against else f"{each.name} over all others"


def difference_name(each: Difference) -> str:
    """Which two systems, at which size."""
    return f"{each.first} less {each.second}" + ("" if each.size is None else f", {each.size} px")


def group_name(each: Group) -> str:
    """Which two systems, or which system at which size."""
    return f"{each.name}, {each.size} px" if each.against == REAL else f"{each.name} and {each.against}"


def alpha_cell(group: Group) -> str:
    """Alpha with its interval."""
    found = group.agreement
    if found.alpha is None:
        return "–"
    interval = "" if found.low is None else f" [{signed(found.low)}, {signed(found.high or 0.0)}]"
    return signed(found.alpha) + interval


def signed(value: float) -> str:
    """Two decimals, with a minus that is one."""
    return f"{value:.2f}".replace("-", "−")


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def brackets(interval: Interval | None) -> str:
    """Per cent without the sign; a dash where nothing can be said."""
    return "–" if interval is None else f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def points(difference: float) -> str:
    """Percentage points, always with a sign."""
    return f"{100 * difference:+.1f}".replace("-", "−")


def point_brackets(interval: Interval | None) -> str:
    return "–" if interval is None else f"[{points(interval.low)}, {points(interval.high)}]"


def p_value(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def seconds(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.1f} s"
