from __future__ import annotations

import json
from pathlib import Path

import pytest

from art2real.errors import UserError
from art2real.plan.calibrate import calibrate
from art2real.plan.constants import MEANING, read_constants
from art2real.plan.measured_loss import split
from art2real.plan.plan import make_plan
from tests.plan.workloads import made_constants, workload


def test_those_of_the_program_are_there_with_source_and_spread() -> None:
    constants = read_constants()
    assert set(MEANING) <= set(constants.constants)
    for each in constants.constants.values():
        assert each.least <= each.value <= each.greatest
        assert each.source


def test_they_come_back_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "constants.json"
    made = made_constants(gpu_network_seconds=1e-12)
    path.write_text(made.to_json(), encoding="utf-8")
    assert read_constants(path) == made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["constants"].pop("scan_pq_seconds"), "scan_pq_seconds is missing"),
        (
            lambda content: content["constants"].update(odd=content["constants"]["draw_seconds"]),
            "odd is not known",
        ),
        (lambda content: content["constants"]["draw_seconds"].update(value=0), "draw_seconds.value"),
        (lambda content: content.update(format_version=9), "format version 9 is not known"),
        (lambda content: content.pop("machine"), "machine: Field required"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path: Path, change, message: str) -> None:
    content = json.loads(made_constants().to_json())
    change(content)
    path = tmp_path / "constants.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError) as refused:
        read_constants(path)
    assert message in str(refused.value)
    assert "--calibrate --out FILE" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_file_and_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_constants(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="no JSON"):
        read_constants(tmp_path / "text.json")


def test_two_unknowns_are_told_apart() -> None:
    values, pairs = split([768 * 2.0 + 5], [48 * 2.0 + 5])
    assert values == pytest.approx([2.0])
    assert pairs == pytest.approx([5.0])
    # Noise must not make anything negative.
    assert all(each > 0 for part in split([1.0], [3.0]) for each in part)
    assert all(each > 0 for part in split([100.0], [0.001]) for each in part)


@pytest.mark.slow
def test_this_machine_is_measured() -> None:
    said: list[str] = []
    constants = calibrate(said.append, crop=32, rounds=1)
    assert set(MEANING) <= set(constants.constants)
    assert "search" in said
    assert constants.measured.crop == 32
    plan = make_plan(workload(1000), constants)
    assert plan.step.total is not None
    # A processor of these years: a photo a millisecond or so, a step of 256 px within a minute or two.
    assert 1e-5 < plan.bank_seconds / 1000 < 1
    assert 1e-3 < plan.step.total < 1000
