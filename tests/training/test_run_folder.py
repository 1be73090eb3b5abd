"""Run folders: numbers, what they remember, and which run `--resume` means."""

from __future__ import annotations

import json

import pytest
import torch

from art2real.errors import UsageError, UserError
from art2real.training.plan import plan_run
from art2real.training.resume import resume_run
from art2real.training.run_folder import RunFolder
from art2real.translation.checkpoint import write_checkpoint
from tests.training.runs import tiny_config, write_domains


def test_runs_are_numbered_and_found_by_name(tmp_path):
    config = tiny_config(tmp_path)
    other = config.model_copy(update={"name": "other"})
    made = [RunFolder.create(each, {}) for each in (config, other, config, other)]
    assert [run.path.name for run in made] == ["0001-tiny", "0002-other", "0003-tiny", "0004-other"]
    assert RunFolder.newest(config) == made[2]
    (tmp_path / "runs" / "12345-tiny").mkdir()
    assert RunFolder.newest(config).path.name == "12345-tiny"
    assert RunFolder.create(config, {}).path.name == "12346-tiny"


def test_a_run_remembers_what_made_it(tmp_path):
    config = tiny_config(tmp_path, objective={"cycle_weight": 3.5})
    run = RunFolder.create(config, {"bank": None, "paintings": 7})
    assert run.config == config
    facts = json.loads((run.path / "run.json").read_text())
    assert facts["paintings"] == 7
    assert facts["versions"]["torch"]
    assert facts["versions"]["art2real"]
    assert facts["commit"] is None or len(facts["commit"].removesuffix("+changes")) == 40
    assert facts["started"][:2] == "20"


def test_a_runs_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UserError, match=r"runs folder .*runs cannot be written"):
        RunFolder.create(tiny_config(tmp_path), {})


def test_statistics_after_a_step_can_be_dropped(tmp_path):
    run = RunFolder.create(tiny_config(tmp_path), {})
    assert run.stats() == []
    assert run.last_stats() is None
    for step in (1, 2, 3):
        run.append_stats({"step": step})
    assert run.last_stats() == {"step": 3}
    run.cut_stats(2)
    assert run.stats() == [{"step": 1}, {"step": 2}]


def test_half_written_checkpoints_are_not_there(tmp_path):
    run = RunFolder.create(tiny_config(tmp_path), {})
    for step in (5, 20, 100):
        run.checkpoint_path(step).mkdir(parents=True)
        (run.checkpoint_path(step) / "checkpoint.json").touch()
    run.checkpoint_path(200).mkdir()
    (run.checkpoint_folder / ".step-00000300.ab12").mkdir()
    assert [step for step, _ in run.checkpoints()] == [5, 20, 100]
    run.prune(2)
    assert [step for step, _ in run.checkpoints()] == [20, 100]


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_taken(tmp_path, caplog):
    run = RunFolder.create(tiny_config(tmp_path), {})
    assert run.newest_whole() is None
    for step in (1, 2, 3):
        write_checkpoint(run.checkpoint_path(step), {"G": {"weight": torch.full((9,), float(step))}}, {})
    assert run.newest_whole() == run.checkpoint_path(3)
    (run.checkpoint_path(2) / "G.safetensors").unlink()
    content = bytearray((run.checkpoint_path(3) / "G.safetensors").read_bytes())
    content[-2] ^= 1
    (run.checkpoint_path(3) / "G.safetensors").write_bytes(content)

    assert run.newest_whole() == run.checkpoint_path(1)
    assert run.checkpoints() == [(1, run.checkpoint_path(1))]
    assert sorted(path.name for path in run.checkpoint_folder.iterdir()) == [
        "step-00000001",
        "step-00000002.damaged",
        "step-00000003.damaged",
    ]
    assert "step-00000003/G.safetensors is damaged (wrong checksum)" in caplog.text
    assert "step-00000002/G.safetensors is missing" in caplog.text

    (run.checkpoint_path(1) / "checkpoint.json").write_text("{")
    with pytest.raises(UserError, match="all of its 1 checkpoints are damaged; start a new run"):
        run.newest_whole()


def write_judged(run, step, value, by="objective", steps=4):
    judged = {"by": by, "sum": value * steps, "steps": steps}
    record = {"step": step, "judged": judged, "config": {"logging": {"checkpoint_every": 4}}}
    write_checkpoint(run.checkpoint_path(step), {"G": {}}, record)


def test_the_best_checkpoint_is_kept_and_a_lower_value_takes_its_place(tmp_path):
    run = RunFolder.create(tiny_config(tmp_path), {})
    assert run.best is None
    for step, value in ((4, 3.0), (8, 2.0), (12, 2.0), (16, 2.5)):
        write_judged(run, step, value)
        run.prune(1)
    assert run.best == {"step": 8, "by": "objective", "value": 2.0}
    assert [step for step, _ in run.checkpoints()] == [8, 16]
    write_judged(run, 17, 0.5, steps=1)  # a run that was stopped: one lucky step says nothing
    assert run.best["step"] == 8
    write_judged(
        run, 20, 9.0, by="cycle_X"
    )  # another measure: what was found by the first says nothing of it
    assert run.best == {"step": 20, "by": "cycle_X", "value": 9.0}


def test_what_a_killed_worker_had_begun_to_write_is_removed(tmp_path):
    run = RunFolder.create(tiny_config(tmp_path), {})
    write_judged(run, 4, 1.0)
    half = run.checkpoint_folder / ".step-00000008.ab12"
    half.mkdir()
    (half / "G.safetensors").write_bytes(b"half")
    assert run.newest_whole() == run.checkpoint_path(4)
    assert [path.name for path in run.checkpoint_folder.iterdir()] == ["step-00000004"]


def test_warnings_are_told_once(tmp_path):
    run = RunFolder.create(tiny_config(tmp_path), {})
    assert run.warnings() == []
    run.warnings_file.write_text("one\ntwo\none\n")
    assert run.warnings() == ["one", "two"]


def test_another_number_of_workers_or_other_images_are_another_run(tmp_path):
    write_domains(tmp_path)
    config = tiny_config(tmp_path, cluster={"workers": 2})
    RunFolder.create(config, plan_run(config).facts)
    assert resume_run(config, plan_run(config))
    fewer = tiny_config(tmp_path, cluster={"workers": 2, "min_workers": 1})
    assert resume_run(fewer, plan_run(fewer))
    one = tiny_config(tmp_path, cluster={"workers": 1})
    with pytest.raises(UsageError, match=r"cluster.workers is 1, but 2 in"):
        resume_run(one, plan_run(one))
    next((tmp_path / "photos").iterdir()).unlink()
    with pytest.raises(UserError, match=r"data.photos has 4 images, but had 5 when"):
        resume_run(config, plan_run(config))


@pytest.mark.parametrize(
    ("by", "sections"), [("contextual", {}), ("cycle_X", {"objective": {"cycle_weight": 0}})]
)
def test_nothing_is_best_by_a_loss_that_there_is_not(tmp_path, by, sections):
    write_domains(tmp_path)
    with pytest.raises(UsageError, match=f"best_by is {by}, a loss that the run does not have"):
        plan_run(tiny_config(tmp_path, logging={"best_by": by}, **sections))


def test_signals(tmp_path):
    run = RunFolder.create(tiny_config(tmp_path), {})
    assert (run.stop_asked, run.failure, run.finished) == (False, None, None)
    run.ask_to_stop()
    run.fail("a loss broke")
    run.finish(9)
    assert (run.stop_asked, run.failure, run.finished) == (True, "a loss broke", 9)
    run.clear_signals()
    assert (run.stop_asked, run.failure, run.finished) == (False, None, None)


def test_only_a_run_with_nothing_to_show_is_discarded(tmp_path):
    config = tiny_config(tmp_path)
    empty, begun = RunFolder.create(config, {}), RunFolder.create(config, {})
    begun.append_stats({"step": 1})
    for run in (empty, begun):
        run.discard_if_empty()
    assert not empty.path.exists()
    assert begun.path.exists()


def test_resuming_needs_a_run_of_that_name(tmp_path):
    write_domains(tmp_path)
    config = tiny_config(tmp_path)
    with pytest.raises(UserError, match=r"no run named tiny in .*runs to resume"):
        resume_run(config, plan_run(config))


def test_a_run_resumes_with_other_logging_and_length_but_not_as_another_run(tmp_path):
    write_domains(tmp_path)
    config = tiny_config(tmp_path)
    run = RunFolder.create(config, plan_run(config).facts)
    longer = tiny_config(tmp_path, 50, logging={"log_every": 7}, cluster={"max_failures": 2})
    assert resume_run(longer, plan_run(longer)) == run
    other = tiny_config(tmp_path, objective={"cycle_weight": 1.0})
    with pytest.raises(
        UsageError, match=r"objective.cycle_weight is 1.0, but 10.0 in .*0001-tiny/config.yaml"
    ):
        resume_run(other, plan_run(other))


def test_a_plan_counts(tmp_path):
    write_domains(tmp_path)
    config = tiny_config(tmp_path, schedule={"max_steps": None, "batch_size": 2}, cluster={"workers": 2})
    plan = plan_run(config)
    assert (plan.paintings, plan.photos, plan.steps_per_epoch, plan.total_steps) == (3, 5, 2, 400)
    assert (plan.bank, plan.scales, plan.index_actors, plan.weight) == (None, (), 0, 0.0)


def test_a_bank_that_is_not_there_is_named(tmp_path):
    write_domains(tmp_path)
    with pytest.raises(UserError, match="nowhere"):
        plan_run(tiny_config(tmp_path, contextual={"bank": str(tmp_path / "nowhere")}))
