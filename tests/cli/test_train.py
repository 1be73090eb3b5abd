"""`art2real-cli train`: what it checks before anything is started, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from art2real.cli.main import main
from art2real.training.plan import plan_run
from art2real.training.run_folder import RunFolder
from tests.training.runs import tiny_config, tiny_values, write_domains


@pytest.fixture
def config(tmp_path):
    """A configuration file over two small folders."""
    write_domains(tmp_path)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tiny_values(tmp_path)))
    return tmp_path / "run.yaml"


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["train", *map(str, arguments)])
    out, err = capsys.readouterr()
    return end.value.code, out, err


def test_a_dry_run_says_what_would_be_done_and_does_nothing(tmp_path, config, capsys):
    code, out, _ = run(capsys, "--config", config, "--set", "schedule.max_steps=70", "--dry-run", "--json")
    assert code == 0
    plan = json.loads(out)
    assert (plan["paintings"], plan["photos"], plan["steps_per_epoch"], plan["total_steps"]) == (3, 5, 5, 70)
    assert set(plan["parameters"]) == {"G", "F", "D_X", "D_Y"}
    assert plan["bank"] is None
    assert plan["seconds_per_step"] > 0
    assert plan["expected_seconds"] == pytest.approx(70 * plan["seconds_per_step"], abs=1)
    assert plan["worker_bytes"] > 10_000_000
    assert not (tmp_path / "runs").exists()
    code, out, _ = run(capsys, "--config", config, "--dry-run")
    assert "steps       6 (5 an epoch), 0 of them done" in out
    assert "plain CycleGAN" in out
    assert " s here with 1 thread; about " in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--set", "schedule.max_step=5"], 2, "did you mean schedule.max_steps?"),
        (["--set", "data.photos=/nowhere/photos"], 1, "/nowhere/photos: there is no such file or folder"),
        (["--set", "contextual.bank=/nowhere/bank"], 1, "/nowhere/bank"),
        (["--set", "data.crop_size=16"], 2, "data.crop_size"),
        (["--resume"], 1, "no run named tiny in"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(tmp_path, config, capsys, arguments, code, words):
    got, out, err = run(capsys, "--config", config, *arguments)
    assert got == code
    assert out == ""
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_finished_run_says_so(tmp_path, config, capsys):
    made = tiny_config(tmp_path)
    RunFolder.create(made, plan_run(made).facts).finish(6)
    code, out, err = run(capsys, "--config", config, "--resume")
    assert (code, err) == (0, "")
    assert "0001-tiny is already finished: 6 of 6 steps are done" in out


def test_ctrl_c_saves_a_checkpoint_and_says_how_to_go_on(tmp_path, config):
    """The signal goes to the whole process group, as a terminal sends it."""
    command = [sys.executable, "-m", "art2real.cli", "train", "--config", str(config)]
    training = subprocess.Popen(
        [*command, "--set", "schedule.max_steps=100000"],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "RAY_AUTH_MODE": "disabled"},
    )
    stats = tmp_path / "runs" / "0001-tiny" / "stats.jsonl"
    try:
        deadline = time.monotonic() + 240
        while not (stats.exists() and stats.read_text()):
            assert training.poll() is None, training.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.killpg(training.pid, signal.SIGINT)
        out, err = training.communicate(timeout=240)
    finally:
        if training.poll() is None:
            os.killpg(training.pid, signal.SIGKILL)
    assert training.returncode == 130
    assert "Traceback" not in err
    run = RunFolder(stats.parent)
    step = run.stats()[-1]["step"]
    assert run.checkpoints() == [(step, run.checkpoint_path(step))]
    again = f"{config} --set schedule.max_steps=100000 --resume"
    assert out == f"stopped at step {step} of 100000; go on with: art2real-cli train --config {again}\n"
