"""The entry points of `jobs/`: what they log, how they end, and what a pipeline leaves out."""

from __future__ import annotations

import importlib
import json
import logging
import os
import runpy
import signal
import sys
import types
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
import yaml

from art2real.cli import job
from art2real.cli.common import address_option, emit, json_option, progress
from art2real.cli.stages import Stages
from art2real.core.scale import Scale
from art2real.data.bank_build import build_bank
from art2real.data.manifest import BUILDING, MANIFEST, BankSettings
from art2real.errors import UsageError, UserError
from tests.training.runs import tiny_values, write_domains

JOBS = Path(__file__).parents[2] / "jobs"


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a function as the job `trial`, on no cluster: its exit code and its events."""
    attached = []

    @contextmanager
    def session(address):
        attached.append(address)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as Ray takes the signal for itself
        yield

    monkeypatch.setattr("art2real.distributed.cluster.session", session)

    def run_it(function, *arguments):
        command = address_option(json_option(click.command()(function)))
        trial = types.SimpleNamespace(command=command)
        monkeypatch.setitem(sys.modules, "art2real.cli.trial", trial)
        with pytest.raises(SystemExit) as end:
            job.run_job("trial", list(arguments))
        out, err = capsys.readouterr()
        assert err == ""
        return end.value.code, [json.loads(line) for line in out.splitlines()]

    run_it.attached = attached
    return run_it


@pytest.mark.parametrize("path", sorted(JOBS.glob("*.py")), ids=lambda path: path.stem)
def test_each_entry_point_runs_its_command(path, monkeypatch):
    ran = []
    monkeypatch.setattr(job, "run_job", ran.append)
    runpy.run_path(str(path), run_name="__main__")
    assert ran == [path.stem.replace("_", "-")]
    assert isinstance(importlib.import_module(f"art2real.cli.{path.stem}").command, click.Command)
    runpy.run_path(str(path), run_name="imported")
    assert len(ran) == 1


def test_there_is_an_entry_point_for_each_stage():
    stages = {"build_banks", "build_index", "train", "translate", "evaluate", "pipeline"}
    assert {path.stem for path in JOBS.glob("*.py")} == stages


def test_a_job_says_how_it_goes_in_lines_of_json(run, monkeypatch):
    monkeypatch.setattr("art2real.cli.common.LINE_INTERVAL", 0.0)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")

    def work(as_json, address):
        click.echo("two are left out", err=True)
        logging.getLogger("art2real.trial").warning("a replica is slow")
        print("no line end", end="", file=sys.stderr)
        with progress(4, "photos") as bar:
            bar.update(1, note="busy")
            bar.update(4)
        emit({"photos": 4, "files": ["x"] * 1000}, as_json, "4 photos")

    code, events = run(work)
    assert code == 0
    assert run.attached == ["auto"]
    assert {event["stage"] for event in events} == {"trial"}
    assert all(event["time"].endswith("+00:00") for event in events)
    kinds = [event["event"] for event in events]
    assert kinds == ["started", "message", "message", "progress", "progress", "message", "finished"]
    assert events[0]["arguments"] == []
    assert events[0]["address"] == "10.0.0.1:6379"
    assert {"art2real", "python", "ray", "torch"} <= events[0]["versions"].keys()
    assert "job" not in events[0]
    assert [events[number]["message"] for number in (1, 2, 5)] == [
        "two are left out",
        "a replica is slow",
        "no line end",
    ]
    assert events[2]["level"] == "warning"
    first, last = events[3], events[4]
    assert (first["what"], first["done"], first["total"], first["note"]) == ("photos", 1, 4, "busy")
    assert (last["done"], last["total"]) == (4, 4)
    assert events[-1]["result"] == {"photos": 4, "files": {"entries": 1000}}
    assert events[-1]["seconds"] >= 0


def test_progress_is_said_now_and_then(run, monkeypatch):
    def work(as_json, address):
        now = [0.0]
        with progress(100, "photos", clock=lambda: now[0]) as bar:
            for done in range(1, 101):
                now[0] = done / 2
                bar.update(done)

    code, events = run(work)
    assert code == 0
    # Every ten seconds of the fifty, and the last.
    assert [event["done"] for event in events if event["event"] == "progress"] == [20, 40, 60, 80, 100]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("photos/ is empty"), 1, "photos/ is empty"),
        (UsageError("unknown key x"), 2, "unknown key x"),
        (click.UsageError("wrong"), 2, "wrong"),
    ],
)
def test_a_mistake_is_one_line_and_the_exit_code_of_the_command_line(run, error, code, message):
    def fail(as_json, address):
        raise error

    got, events = run(fail)
    assert got == code
    last = events[-1]
    assert (last["event"], last["exit_code"], last["message"]) == ("failed", code, message)
    assert "traceback" not in last


def test_a_wrong_option_is_said_before_any_cluster_is_asked(run):
    code, events = run(lambda as_json, address: None, "--colour", "red")
    assert code == 2
    assert [event["event"] for event in events] == ["failed"]
    assert "--colour" in events[0]["message"]
    assert run.attached == []


def test_a_fault_of_the_program_keeps_its_traceback_in_the_line(run):
    def fail(as_json, address):
        raise ZeroDivisionError("nothing to divide by")

    code, events = run(fail)
    assert code == 1
    assert events[-1]["message"] == "ZeroDivisionError: nothing to divide by"
    assert "in fail" in events[-1]["traceback"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_job_ends_as_at_ctrl_c(run, number):
    def work(as_json, address):
        os.kill(os.getpid(), number)
        signal.pause()

    before = signal.getsignal(signal.SIGTERM)
    code, events = run(work)
    assert code == 130
    assert events[-1]["event"] == "interrupted"
    assert "what is done is kept" in events[-1]["message"]
    # A plain SIGTERM would have ended this process.
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_command_that_stopped_itself_says_how_far_it_came(run):
    def work(as_json, address):
        emit({"step": 7}, as_json, "stopped at step 7")
        return 130

    code, events = run(work)
    assert code == 130
    assert (events[-1]["event"], events[-1]["result"]) == ("interrupted", {"step": 7})


def test_a_cluster_that_is_named_is_asked(run):
    code, _ = run(lambda as_json, address: None, "--address", "head:6379")
    assert (code, run.attached) == (0, ["head:6379"])


def test_without_a_cluster_it_says_how_to_submit(run, monkeypatch):
    @contextmanager
    def session(address):
        raise UserError(f"no Ray cluster answers at --address {address}")
        yield

    monkeypatch.setattr("art2real.distributed.cluster.session", session)
    code, events = run(lambda as_json, address: None)
    assert code == 1
    assert "ray job submit" in events[-1]["message"]
    code, events = run(lambda as_json, address: None, "--address", "head:6379")
    assert events[-1]["message"] == "no Ray cluster answers at --address head:6379"


def test_a_submitted_job_logs_its_metadata_and_refuses_places_that_go_with_it(run, monkeypatch):
    submitted = {"runtime_env": {}, "metadata": {"job_submission_id": "night", "commit": "abc"}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(submitted))

    def work():
        return click.option("--out", type=click.Path(path_type=Path))(lambda as_json, address, out: None)

    code, events = run(work(), "--out", "/shared/banks/x")
    assert code == 0
    assert events[0]["job"] == submitted["metadata"]
    code, events = run(work(), "--out", "banks/x")
    assert code == 2
    assert "--out banks/x: " in events[-1]["message"]
    assert "absolute" in events[-1]["message"]


def test_help_is_plain(run, capsys):
    with pytest.raises(SystemExit) as end:
        job.run_job("train", ["--help"])
    assert end.value.code == 0
    assert "Usage: jobs/train.py [OPTIONS]" in capsys.readouterr().out


# The pipeline's stages


@pytest.fixture
def folder(tmp_path):
    write_domains(tmp_path)
    values = tiny_values(tmp_path, contextual={"scales": ["8:4"]})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values))
    return tmp_path


def stages(folder, *overrides, wanted=None, photos="photos", real=None, **options):
    names = ("banks", "index", "translate", "evaluate")
    return Stages(
        photos=str(folder / photos),
        paintings=str(folder / "paintings"),
        config_path=folder / "run.yaml",
        overrides=overrides,
        out=folder / "out",
        real=real,
        wanted=wanted,
        **{f"{name}_options": options.get(name, "") for name in names},
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--set", "schedule.max_step=5"], 2, "did you mean schedule.max_steps?"),
        (["--paintings", "/nowhere"], 1, "/nowhere"),
        (["--banks-options", "--sizes 4"], 2, "options of build-banks: "),
        (["--index-options", "--shards none"], 2, "options of build-index: "),
        (["--translate-options", "--dry-run"], 2, "options of translate: --dry-run"),
        (["--translate-options", "--side-by-side"], 2, "--no-evaluate"),
        (["--evaluate-options", "--help"], 2, "options of evaluate: --help"),
        (["--evaluate-options", "--seed 'x"], 2, "--evaluate-options --seed 'x: "),
        (["--evaluate-options", "--weights /nowhere.pth"], 1, "/nowhere.pth: there is no such file"),
        (["--no-such"], 2, "--no-such"),
    ],
)
def test_a_pipeline_refuses_mistakes_in_any_stage_before_the_first(
    folder, run, capsys, arguments, code, words
):
    given = {"--photos": "photos", "--paintings": "paintings", "--config": "run.yaml", "--out": "out"}
    start = [part for name, path in given.items() for part in (name, str(folder / path))]
    with pytest.raises(SystemExit) as end:
        job.run_job("pipeline", [*start, *arguments])
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert end.value.code == code
    assert (events[-1]["event"], events[-1]["stage"]) == ("failed", "pipeline")
    assert words in events[-1]["message"]
    assert {event["stage"] for event in events} == {"pipeline"}
    assert not (folder / "out").exists()


def test_the_bank_is_made_once_and_goes_on_where_it_is_not_whole(folder):
    bank = folder / "out" / "bank"
    found = stages(folder, banks="--size 32").banks()
    assert found.arguments[1:] == [
        "--out", str(bank), "--no-index", "--size", "32", "--scale", "8:4"
    ]  # fmt: skip
    build_bank(folder / "photos", bank, BankSettings(image_size=32, scales=(Scale(8, 4),)))
    assert stages(folder, banks="--size 32").banks() == f"{bank} is complete"
    assert stages(folder).banks() == f"{bank} is complete"
    assert stages(folder, banks="--size 32 --overwrite").banks() == f"{bank} is complete"
    # Other settings: build-banks refuses them, unless it is told to begin anew.
    assert "--resume" in stages(folder, banks="--size 48").banks().arguments
    anew = stages(folder, banks="--size 48 --overwrite").banks().arguments
    assert "--overwrite" in anew
    assert "--resume" not in anew
    # Other photos.
    assert "--resume" in stages(folder, photos="paintings").banks().arguments
    # One that was begun and not finished, which `--overwrite` with the same settings does not throw away.
    manifest = json.loads((bank / MANIFEST).read_text())
    begun = {
        "format_version": manifest["format_version"],
        "settings": manifest["settings"],
        "origin": manifest["inputs"][0]["origin"],
        "input_sha256": manifest["inputs"][0]["input_sha256"],
        "first_task": 0,
    }
    (bank / BUILDING).write_text(json.dumps(begun))
    (bank / MANIFEST).unlink()
    for options in ("--size 32", "--size 32 --overwrite"):
        going_on = stages(folder, banks=options).banks().arguments
        assert "--resume" in going_on
        assert "--overwrite" not in going_on


def test_plain_cyclegan_needs_no_bank(folder):
    plain = stages(folder, "contextual.weight=0")
    assert plain.banks() == plain.index() == "plain CycleGAN: contextual.weight is 0"


def test_a_run_is_begun_resumed_and_left_alone(folder):
    from art2real.training.plan import plan_run
    from art2real.training.run_folder import RunFolder

    plain = stages(folder, "contextual.weight=0")
    first = plain.train()
    assert "--resume" not in first.arguments
    assert f'runs="{folder / "out/runs"}"' in first.arguments
    run = RunFolder.create(plain._config, plan_run(plain._config).facts)
    assert "--resume" in plain.train().arguments
    run.finish(6)
    assert plain.train() == f"{run.path} is finished: 6 steps"
    # More steps are the same run; another learning rate is none.
    assert "--resume" in stages(folder, "contextual.weight=0", "schedule.max_steps=9").train().arguments
    with pytest.raises(UsageError, match=r"schedule\.learning_rate .*--set name=NAME"):
        stages(folder, "contextual.weight=0", "schedule.learning_rate=0.1").train()
    assert "--resume" not in stages(folder, "contextual.weight=0", "name=other").train().arguments


def test_an_evaluation_is_skipped_without_weights_and_done_once(folder, inception_weights, monkeypatch):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(folder / "cache"))
    translated = folder / "out" / "translated"
    translated.mkdir(parents=True)
    (translated / "translations.jsonl").write_text("{}\n")
    assert "not asked for with --evaluate, and weights-inception" in stages(folder).evaluate()
    assert stages(folder, wanted=False).evaluate() == "--no-evaluate"
    with pytest.raises(UserError, match="weights-inception"):
        stages(folder, wanted=True).check()

    options = f"--weights {inception_weights.path} --any-weights"
    found = stages(folder, evaluate=options).evaluate()
    assert f"Translations={translated}" in found.arguments
    evaluation = folder / "out" / "evaluation"
    evaluation.mkdir()
    (evaluation / "report.html").write_text("")
    found.on_done()
    assert stages(folder, evaluate=options).evaluate() == f"{evaluation} is complete"
    assert not isinstance(stages(folder, evaluate=f"{options} --seed 1").evaluate(), str)
    (translated / "translations.jsonl").write_text("{}\n{}\n")
    assert not isinstance(stages(folder, evaluate=options).evaluate(), str)


def test_photos_that_are_no_folder_cannot_be_evaluated_with(folder, inception_weights):
    (folder / "list.txt").write_text("photos/photo-000.jpg\n")
    options = f"--weights {inception_weights.path} --any-weights"
    with pytest.raises(UsageError, match="--real DIR"):
        stages(folder, photos="list.txt", evaluate=options).check()
    stages(folder, photos="list.txt", real=str(folder / "photos"), evaluate=options).check()
    stages(folder, photos="list.txt", wanted=False, evaluate=options).check()
