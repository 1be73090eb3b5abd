"""`art2real-cli study create`, and what users get wrong; the server has tests of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from art2real.cli.study import command
from art2real.errors import UserError
from art2real.study.design import read_design
from tests.pictures import write_photos


def run(capsys, *arguments):
    """Exit code, standard output and standard error, as the whole program would end."""
    import click

    try:
        command.main([str(each) for each in arguments], prog_name="study", standalone_mode=False)
        code, message = 0, ""
    except UserError as error:
        code, message = error.exit_code, str(error)
    except click.ClickException as error:
        code, message = error.exit_code, error.format_message()
    out, err = capsys.readouterr()
    return code, out, err + message


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("cyclegan", "ours", "paintings", "real")):
        write_photos(tmp_path / name, 12, height=32, width=32, seed=100 * number)
    write_photos(tmp_path / "others", 3, height=32, width=32)
    for path in (tmp_path / "others").iterdir():
        path.rename(path.with_name(f"x-{path.name}"))
    (tmp_path / "empty").mkdir()
    return tmp_path


BASE = ("create", "--type", "realism", "--set", "CycleGAN=cyclegan", "--set", "Ours=ours", "--size", 32)


def test_makes_a_study(folders, capsys):
    (folders / "ours" / "photo-003.jpg").write_bytes(b"")
    code, out, err = run(capsys, *BASE, "--trials", 5, "--participants", 20, "--out", "study")
    assert code == 0, err
    assert "5 images of CycleGAN, Ours, 5 different trials" in out
    assert "3 attention checks and 3 practice trials" in out
    assert "more than 1 failed check, a median below 500 ms, or less than 80%" in out
    assert "power of 20" in out
    assert "study/design.json" in out
    assert "Ours: photo-003.jpg: the file has no bytes: left out" in err
    design = read_design(folders / "study")
    assert design.languages == ("en", "it")
    assert design.exclusion.max_attention_failures == 1


def test_options_become_the_design(folders, capsys):
    code, out, err = run(
        capsys,
        *("create", "--type", "real-vs-generated", "--set", "Ours=ours", "--real", "real", "--size", 96),
        *("--trials", 4, "--attention", 2, "--practice", 1, "--seed", 7, "--language", "it"),
        *("--max-attention-failures", 1, "--min-median-ms", 0, "--min-answered", 0.5),
        *("--out", "study", "--json"),
    )
    assert code == 0, err
    data = json.loads(out)
    design = read_design(folders / "study")
    assert data["sizes"] == [96, 64, 48]
    assert data["different_trials"] == 27 == len(design.judged)
    assert (data["images"], data["left_out"]) == (9, [])
    assert data["exclusion"] == {"max_attention_failures": 1, "min_median_ms": 0, "min_answered_share": 0.5}
    assert data["power"]["planned"] is None
    assert len(data["notes"]) == 2  # images of 32 pixels at 96, of both
    assert (design.seed, design.languages, design.practice_each) == (7, ("it",), 1)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["create", "--type", "realism", "--set", "A=ours", "--trials", 3, "--out", "s"], 2, "two systems"),
        ([*BASE, "--trials", 3, "--set", "Ours=others", "--out", "s"], 2, "given twice"),
        ([*BASE, "--trials", 3, "--set", "Same=ours", "--out", "s"], 2, "given twice"),
        ([*BASE, "--trials", 3, "--set", "ours", "--out", "s"], 2, "NAME=DIR"),
        ([*BASE, "--trials", 3, "--set", "real=real", "--out", "s"], 2, "another meaning"),
        (
            [*BASE, "--trials", 3, "--paintings", "paintings", "--out", "s"],
            2,
            "belongs to a study of coherency",
        ),
        (
            [*BASE, "--trials", 3, "--real", "real", "--out", "s"],
            2,
            "belongs to a study of real-vs-generated",
        ),
        (
            ["create", "--type", "coherency", *BASE[3:], "--trials", 3, "--out", "s"],
            2,
            "--paintings is missing",
        ),
        (
            ["create", "--type", "real-vs-generated", *BASE[3:], "--trials", 3, "--out", "s"],
            2,
            "--real is missing",
        ),
        ([*BASE, "--trials", 13, "--out", "s"], 2, "no more than 12"),
        ([*BASE, "--trials", 3, "--attention", 3, "--out", "s"], 2, "must be fewer"),
        ([*BASE, "--trials", 5, "--max-attention-failures", 3, "--out", "s"], 2, "exclude nobody"),
        ([*BASE, "--trials", 5, "--language", "../it", "--out", "s"], 2, "--language"),
        ([*BASE, "--trials", 5, "--out", "ours/study"], 2, "lies in ours"),
        ([*BASE, "--trials", 5, "--out", "real"], 2, "holds something else"),
        ([*BASE, "--trials", 5, "--out", "real/photo-000.jpg/s"], 1, "cannot"),
        ([*BASE, "--trials", 5, "--set", "C=missing", "--out", "s"], 1, "no such folder"),
        ([*BASE, "--trials", 5, "--set", "C=empty", "--out", "s"], 1, "empty"),
        ([*BASE, "--trials", 5, "--set", "C=others", "--out", "s"], 1, "same name"),
        ([*BASE, "--trials", 0, "--out", "s"], 2, "trials"),
        ([*BASE, "--trials", 5, "--size", 8, "--out", "s"], 2, "size"),
        (["serve", "s", "--admin-token-file", "missing"], 1, "cannot be read"),
        (["serve", "real"], 1, "not a study"),
        (["report", "real"], 1, "not a study"),
        (["links", "real", "--count", 2], 1, "not a study"),
    ],
)
def test_mistakes_are_one_line(folders, capsys, arguments, code, words):
    before = sorted(folders.rglob("*"))
    found, out, err = run(capsys, *arguments)
    assert (found, out) == (code, ""), err
    assert words in err
    assert err.count("\n") == 0
    assert sorted(folders.rglob("*")) == before


def test_an_empty_token_is_refused(folders, capsys):
    (folders / "token").write_text("\n")
    code, _, err = run(capsys, "serve", "s", "--admin-token-file", "token")
    assert (code, "is empty" in err) == (1, True)


def test_links_then_a_report_without_answers(folders, capsys):
    assert run(capsys, *BASE, "--trials", 5, "--out", "study")[0] == 0
    code, out, err = run(capsys, "links", "study", "--count", 3, "--base-url", "https://study.example.org")
    assert code == 0, err
    found = out.splitlines()
    assert len(set(found)) == 3
    assert all(link.startswith("https://study.example.org/p/") for link in found)
    code, out, err = run(capsys, "report", "study")
    assert (code, out) == (1, "")
    assert "no answers yet" in err
    assert not (folders / "study" / "report").exists()


def test_help_loads_no_machinery():
    code = (
        "import sys\n"
        "from art2real.cli.study import command\n"
        "for words in (['--help'], ['create', '--help'], ['serve', '--help']):\n"
        "    try: command.main(words)\n"
        "    except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'scipy', 'sqlalchemy', 'fastapi', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
