"""The report: everything inside of its files, the same for the same answers, honest about what it lacks."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace

import pytest

from art2real.errors import UserError
from art2real.study.design import write_design
from art2real.study.report import make_report, write_report
from tests.study.simulated import People, made_panel

PEOPLE = People({"CycleGAN": 0.0, "Ours": 1.8}, careless=0.2)
REAL_PEOPLE = People({"real": 0.0, "CycleGAN": -1.5, "Ours": -0.5}, careless=0.1)


@pytest.fixture(scope="module")
def panel():
    return made_panel(12, items=20, trials_each=20)


@pytest.fixture(scope="module")
def sizes_panel():
    return made_panel(
        12, kind="real-vs-generated", items=10, trials_each=30, sizes=(256, 170, 128), planned=30
    )


@pytest.fixture
def study(panel, tmp_path):
    write_design(tmp_path, panel.design)
    return tmp_path


def test_report_needs_nothing_outside_of_itself(panel, study):
    out = study / "report"
    report = write_report(study, panel.answers(PEOPLE, 0), panel.participants, out)
    assert sorted(each.name for each in out.iterdir()) == ["report.csv", "report.html", "report.json"]
    html = (out / "report.html").read_text(encoding="utf-8")
    sources = re.findall(r'\b(?:src|href|xlink:href)="([^"]*)"', html)
    assert all(source.startswith("#") for source in sources)
    assert not re.search(r"<(?:script|link|iframe|img)\b|@import|url\(\s*['\"]?(?!#)", html)
    assert html.count("<svg") == 1
    assert "Which looks more real?" in html and "Ours over CycleGAN" in html
    for each in report.excluded:
        assert f"Participant {each.participant}" in html and each.reasons[0] in html


def test_files_say_the_same(panel, study):
    report = write_report(study, panel.answers(PEOPLE, 0), panel.participants, study / "report")
    written = json.loads((study / "report/report.json").read_text(encoding="utf-8"))
    assert re.fullmatch("[0-9a-f]{64}", written.pop("design_file_sha256"))
    assert written == json.loads(json.dumps(report.to_dict()))
    with (study / "report/report.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["answers_of"], row["system"]) for row in rows] == [
        ("counted", "CycleGAN"),
        ("counted", "Ours"),
        ("everyone", "CycleGAN"),
        ("everyone", "Ours"),
    ]
    ours = report.findings.shares[1]
    assert float(rows[1]["share"]) == ours.share and float(rows[1]["clustered_low"]) == ours.interval.low
    assert f"{100 * ours.share:.1f} %" in report.as_text()
    assert f"{100 * ours.share:.1f} %" in (study / "report/report.html").read_text(encoding="utf-8")


def test_the_same_answers_give_the_same_bytes(panel, study):
    answers = panel.answers(PEOPLE, 0)
    write_report(study, answers, panel.participants, study / "one")
    write_report(study, answers[::-1], panel.participants, study / "other")
    for name in ("report.html", "report.json", "report.csv"):
        assert (study / "one" / name).read_bytes() == (study / "other" / name).read_bytes()


def test_a_real_preference_is_seen(panel):
    report = make_report(panel.design, panel.answers(PEOPLE, 0), panel.participants)
    ours = report.findings.shares[1]
    assert ours.interval.low > 0.5 and ours.participants_p < 0.05
    assert ours.interval.low < ours.wilson.low and ours.wilson.high < ours.interval.high
    assert 0 < len(report.excluded) < 6
    assert ours.participants == 12 - len(report.excluded)
    assert report.everyone[1].participants == 12 and report.everyone[1].share < ours.share


def test_three_sizes(sizes_panel):
    report = make_report(sizes_panel.design, sizes_panel.answers(REAL_PEOPLE, 0), sizes_panel.participants)
    assert [each.size for each in report.findings.shares] == [None, 256, 170, 128] * 2
    assert [each.size for each in report.findings.differences] == [None, 256, 170, 128]
    text = report.as_text()
    assert "Ours, 170 px" in text and "CycleGAN less Ours, 128 px" in text
    assert "30 planned participants count" in text and "not corrected" in text


def test_few_are_called_few(panel):
    answers = [each for each in panel.answers(People(PEOPLE.strengths), 0) if each.participant < 2]
    report = make_report(panel.design, answers, panel.participants[:2])
    assert "†" in report.as_text() and report.findings.shares[0].few == ("2 participants only",)
    alone = make_report(panel.design, [each for each in answers if each.participant == 0], [])
    assert alone.findings.shares[0].interval is None
    assert alone.findings.groups[0].agreement.alpha is None


def test_unfinished_participants_are_mentioned(panel):
    participants = [replace(each, finished=None) for each in panel.participants[:3]] + panel.participants[3:]
    report = make_report(panel.design, panel.answers(PEOPLE, 0), participants)
    assert any("3 of 12 participants began and have not finished" in note for note in report.notes)


def test_nobody_counts(panel, study):
    answers = [replace(each, reaction_ms=20) for each in panel.answers(PEOPLE, 0)]
    report = write_report(study, answers, panel.participants, study / "report")
    assert report.findings is None and len(report.excluded) == 12
    assert report.everyone[1].answers == 240
    assert "Nobody's answers count" in report.as_text()
    assert "<svg" not in (study / "report/report.html").read_text(encoding="utf-8")


def test_no_answers_yet(panel, study):
    with pytest.raises(UserError, match="no answers yet, 12 participants enrolled: hand out links"):
        write_report(study, [], panel.participants, study / "report")
    checks = [each for each in panel.answers(PEOPLE, 0) if panel.design.by_id[each.trial].role == "attention"]
    with pytest.raises(UserError, match=r"no answers yet \(36 of practice and attention checks\)"):
        write_report(study, checks, panel.participants, study / "report")
    assert not (study / "report").exists()


def test_names_of_systems_cannot_break_the_page(tmp_path):
    panel = made_panel(3, systems=("<b>x</b>", "$a_b$"), items=5, trials_each=5)
    write_design(tmp_path, panel.design)
    answers = panel.answers(People({"<b>x</b>": 0.0, "$a_b$": 0.0}), 0)
    write_report(tmp_path, answers, panel.participants, tmp_path / "report")
    html = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;x" in html and "<b>x" not in html and "$a_b$" in html
