"""`ray job submit` of the pipeline to a cluster as users start it: stopped, gone on with, done, and again."""

from __future__ import annotations

import json
import time

import pytest
import yaml

from art2real.training.run_folder import RunFolder
from tests.jobs.heads import events, running_head
from tests.training.runs import tiny_values, write_domains

pytestmark = pytest.mark.slow

_STAGES = ["banks", "index", "train", "translate", "evaluate"]
# Steps that no test waits for.
_ENDLESS = 1_000_000


@pytest.fixture(scope="module")
def head():
    with running_head() as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures and a configuration file, all outside of the job's working folder."""
    made = tmp_path_factory.mktemp("job")
    write_domains(made, paintings=3, photos=6)
    values = tiny_values(made, steps=_ENDLESS, contextual={"scales": ["8:4"], "neighbours": 2, "draws": 8})
    values["logging"]["checkpoint_every"] = 5
    (made / "run.yaml").write_text(yaml.safe_dump(values))
    return made


def entry(folder, *more):
    given = {"photos": "photos", "paintings": "paintings", "config": "run.yaml", "out": "out"}
    options = [part for name, path in given.items() for part in (f"--{name}", str(folder / path))]
    return ["python", "jobs/pipeline.py", *options, "--banks-options", "--size 32", *more]


def stages_of(found, kind):
    return [event["stage"] for event in found if event["event"] == kind and event["stage"] in _STAGES]


def test_a_pipeline_that_was_stopped_goes_on_and_is_done_once(head, folder):
    # Training without end, stopped as soon as it has a checkpoint.
    settings = {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "120"}}
    options = ("--submission-id", "first", "--no-wait", "--runtime-env-json", json.dumps(settings))
    options += ("--metadata-json", json.dumps({"commit": "abc"}))
    assert head.submit(*entry(folder), options=options)[0] == 0
    deadline = time.monotonic() + 300
    run = RunFolder(folder / "out" / "runs" / "0001-tiny")
    while not run.checkpoints():
        assert head.info("first")["status"] in ("PENDING", "RUNNING"), head.ray("job", "logs", "first").stdout
        assert time.monotonic() < deadline
        time.sleep(0.5)
    head.ray("job", "stop", "first")
    first = events(head.ray("job", "logs", "first").stdout)
    assert head.info("first")["status"] == "STOPPED"
    assert first[0]["job"] == {"job_submission_id": "first", "job_name": "first", "commit": "abc"}
    assert stages_of(first, "finished") == ["banks", "index"]
    assert [event["stage"] for event in first if event["event"] == "interrupted"] == ["train", "pipeline"]
    result = next(event["result"] for event in first if event.get("result", {}).get("step"))
    kept = result["step"]
    assert 0 < kept < _ENDLESS
    assert run.checkpoints()[-1] == (kept, run.checkpoint_path(kept))

    # The same job, with an end: bank and index stay, training goes on from that checkpoint.
    end = ("--set", f"schedule.max_steps={kept + 5}")
    code, second = head.submit(*entry(folder, *end))
    assert code == 0
    assert stages_of(second, "skipped") == ["banks", "index", "evaluate"]
    assert stages_of(second, "finished") == ["train", "translate"]
    assert run.finished == kept + 5
    steps = [line["step"] for line in run.stats()]
    assert steps == sorted(set(steps))
    assert len(list((folder / "out" / "translated").glob("*.png"))) == 3
    assert not list((folder / "out" / "runs").glob("0002-*"))

    # Once more: nothing is left to do, and nothing is touched.
    before = {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*") if path.is_file()}
    code, third = head.submit(*entry(folder, *end))
    assert code == 0
    assert stages_of(third, "skipped") == _STAGES
    assert third[-1]["result"]["stages"] == dict.fromkeys(_STAGES, "skipped")
    after = {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*") if path.is_file()}
    assert after == before


def test_a_stage_alone_and_the_exit_code_of_a_mistake(head, folder):
    bank = folder / "alone"
    options = [str(folder / "photos"), "--out", str(bank), "--size", "32", "--scale", "8:4"]
    code, found = head.submit("python", "jobs/build_banks.py", *options)
    assert code == 0
    assert [event["event"] for event in found if event["event"] != "progress"] == ["started", "finished"]
    assert found[-1]["result"]["photos"] == 6

    code, found = head.submit(
        "python", "jobs/build_banks.py", "photos", "--out", "bank", options=("--submission-id", "wrong")
    )
    assert code == 1  # of `ray job submit`; the job's own is the command's
    assert head.info("wrong")["driver_exit_code"] == 2
    assert "absolute" in found[-1]["message"]
    assert not any("Traceback" in event.get("message", "") for event in found)
