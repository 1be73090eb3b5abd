"""A study's design: what it holds, and that a changed one is refused."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from art2real.errors import UserError
from art2real.study.design import DESIGN, Design, read_design, write_design
from tests.study.simulated import made_design


@pytest.fixture
def design():
    return made_design("real-vs-generated", ("Å, <b>/é",), items=4, trials_each=6, sizes=(256, 170, 128))


def with_fields(design, **fields):
    """Another design: `model_copy` would keep what was computed from the old fields."""
    return Design(**{**design.model_dump(), **fields})


def test_it_comes_back_the_same(tmp_path, design):
    path = write_design(tmp_path, design)
    assert path == tmp_path / DESIGN
    assert read_design(tmp_path) == design
    assert [each.name for each in tmp_path.iterdir()] == [DESIGN]
    before = path.read_bytes()
    write_design(tmp_path, read_design(tmp_path))
    assert path.read_bytes() == before


def test_its_views_are_parts_of_the_pool(design):
    assert [len(part) for part in (design.practice, design.judged, design.checks)] == [0, 12, 3]
    assert design.combinations == 3
    assert set(design.by_id.values()) == set(design.trials)
    assert design.files == {each.file for trial in design.trials for each in (trial.first, trial.second)}


def change_rule(content):
    content["exclusion"]["min_median_ms"] = 1


def change_answer(content):
    content["trials"][0]["right"] = "second"


def drop_seal(content):
    del content["design_sha256"]


def newer(content):
    content["format_version"] = 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_rule, "changed since"),
        (change_answer, "changed since"),
        (drop_seal, "damaged"),
        (newer, "version 2"),
    ],
)
def test_a_changed_design_is_refused(tmp_path, design, change, words):
    path = write_design(tmp_path, design)
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=words):
        read_design(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"design"', "{}", "\udcff"])
def test_a_damaged_design_is_an_error_in_words(tmp_path, text):
    (tmp_path / DESIGN).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match="damaged"):
        read_design(tmp_path)


def test_what_is_no_study_is_told(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(UserError, match="not a study"):
            read_design(place)


def test_a_design_that_cannot_be_shown_is_refused(design):
    for fields in (
        {"trials_each": 13},
        {"trials_each": 3},  # of which three checks could not be kept apart
        {"attention_each": 2},
        {"practice_each": 1},
        {"trials": [*design.model_dump()["trials"], design.model_dump()["trials"][0]]},
    ):
        with pytest.raises(ValidationError):
            with_fields(design, **fields)


@pytest.mark.parametrize("name", ["../x.png", "a/0123456789abcdef.png", "0123456789abcdef.png\n", "x.png"])
def test_a_picture_lies_in_the_studys_own_folder(design, name):
    trials = design.model_dump()["trials"]
    trials[0]["first"]["file"] = name
    with pytest.raises(ValidationError):
        with_fields(design, trials=trials)
