"""The report of a study: its answers as figures, with and without those whom the design's rule excludes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from art2real.data.manifest import write_text
from art2real.errors import UserError
from art2real.study.answers import Answer, Participant
from art2real.study.design import DESIGN, Design, Kind, read_design
from art2real.study.exclusions import Taken, rule, taken
from art2real.study.findings import Findings, findings
from art2real.study.judgements import judgements
from art2real.study.preferences import Share, shares
from art2real.study.report_page import report_page
from art2real.study.report_tables import as_csv, as_text
from art2real.versions import versions


@dataclass(frozen=True)
class Report:
    """All figures of a study, with what they were made from."""

    kind: Kind
    systems: tuple[str, ...]
    sizes: tuple[int, ...]
    created: str
    """When the design was fixed, ISO 8601, UTC."""
    first_answer: str
    last_answer: str
    enrolled: int
    """Participants, those too who gave no answer."""
    began: tuple[Taken, ...]
    """Who gave an answer, by number; those whose answers do not count say why."""
    rule: str
    """Whose answers do not count, in words."""
    findings: Findings | None
    """Of those who count; None: nobody does."""
    everyone: tuple[Share, ...]
    """The table of all answers, where there are exclusions."""
    notes: tuple[str, ...]
    """What a reader of the figures has to know."""
    seed: int
    versions: dict[str, str]

    @property
    def excluded(self) -> tuple[Taken, ...]:
        return tuple(each for each in self.began if not each.counts)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def as_text(self) -> str:
        """Tables for a terminal."""
        return as_text(self)


def write_report(
    study: Path, answers: Sequence[Answer], participants: Sequence[Participant], out: Path
) -> Report:
    """Writes `report.html`, `report.json` and `report.csv` into a folder, which is made where it is missing.

    The same answers give the same bytes.

    Args:
        study: the study's folder, for its design.
        answers: of all participants, practice and attention checks included.
        participants: all that were enrolled.
        out: the folder.

    Raises:
        UserError: the study has no design or no answers, or the answers are of another study.
        OSError: a file cannot be written.
    """
    design = read_design(study)
    report = make_report(design, answers, participants)
    sha256 = hashlib.sha256((study / DESIGN).read_bytes()).hexdigest()
    out.mkdir(parents=True, exist_ok=True)
    content = {"design_file_sha256": sha256, **report.to_dict()}
    write_text(out / "report.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    write_text(out / "report.csv", as_csv(report))
    write_text(out / "report.html", report_page(report, sha256))
    return report


def make_report(design: Design, answers: Sequence[Answer], participants: Sequence[Participant]) -> Report:
    """The figures, a pure function of design and answers.

    Raises:
        UserError: no trial that counts was answered, or the answers are of another study.
    """
    ordered = sorted(answers, key=lambda each: (each.participant, each.position))
    found = judgements(design, ordered)
    if not found:
        checks = f" ({len(ordered)} of practice and attention checks)" if ordered else ""
        raise UserError(
            f"no answers yet{checks}, {len(participants)} participants enrolled: hand out links with study "
            "links, let people take part with study serve, then ask for the report again"
        )
    began = taken(design, ordered)
    counting = {each.participant for each in began if each.counts}
    counted = findings(design, [each for each in found if each.participant in counting])
    received = sorted(each.received for each in ordered)
    return Report(
        kind=design.kind,
        systems=design.systems,
        sizes=design.sizes,
        created=design.created,
        first_answer=received[0],
        last_answer=received[-1],
        enrolled=len(participants),
        began=tuple(began),
        rule=rule(design),
        findings=counted,
        everyone=shares(design, found) if len(counting) < len(began) else (),
        notes=_notes(design, participants, len(counting), counted),
        seed=design.seed,
        versions=versions(("numpy", "scipy")),
    )


def _notes(
    design: Design, participants: Sequence[Participant], counting: int, found: Findings | None
) -> tuple[str, ...]:
    notes = []
    if found is None:
        notes.append(
            "Nobody's answers count: the rule of the design excludes every participant. The table of all "
            "answers is below"
        )
    planned = design.power.planned
    if planned is not None and counting < planned:
        notes.append(
            f"{counting} of {planned} planned participants count. Who looks at figures early and stops when "
            "they please finds preferences that are not there more often than the p-values say"
        )
    unfinished = sum(each.consented is not None and each.finished is None for each in participants)
    if unfinished:
        notes.append(f"{unfinished} of {len(participants)} participants began and have not finished")
    if found is not None and any(each.few for each in found.shares):
        notes.append(
            "Rows marked † stand on few participants or images: their intervals are rough, and say little of "
            "other people or other images"
        )
    if found is not None and len(found.shares) + len(found.differences) > 2:
        notes.append("There are several comparisons; the p-values are not corrected for their number")
    return tuple(notes)
