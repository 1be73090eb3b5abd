"""MLflow and Weights & Biases, each in its own files: what a run logs arrives there, also over a stop."""

from __future__ import annotations

import pytest

from art2real.errors import UsageError, UserError
from art2real.training import plan, trackers, writer
from art2real.training.loop import train_loop
from art2real.training.plan import plan_run
from art2real.training.run_folder import RunFolder
from tests.training.runs import dies_at, tiny_config, write_domains


@pytest.fixture
def folder(tmp_path):
    write_domains(tmp_path)
    return tmp_path


def stopped_and_resumed(config):
    run = RunFolder.create(config, {})
    with pytest.raises(ConnectionError):
        train_loop(config, run, report=dies_at(2))
    train_loop(config, run, resume_from=run.checkpoint_path(2))
    return run


def test_mlflow_has_the_figures_of_the_log_in_one_run(folder, monkeypatch):
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    monkeypatch.chdir(folder)
    config = tiny_config(folder, 4, logging={"mlflow": True, "checkpoint_every": 2, "sample_every": 4})
    run = stopped_and_resumed(config)
    client = MlflowClient()
    (experiment,) = [each for each in client.search_experiments() if each.name == "art2real"]
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == run.path.name
    assert found.info.status == "FINISHED"
    assert found.data.params["schedule.max_steps"] == "4"
    for line in run.stats():
        logged = client.get_metric_history(found.info.run_id, "losses/cycle_X")
        values = {each.step: each.value for each in logged}
        assert values[line["step"]] == pytest.approx(line["losses"]["cycle_X"])


def test_weights_and_biases_offline(folder, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    config = tiny_config(folder, 4, logging={"wandb": True, "checkpoint_every": 2, "sample_every": 4})
    run = stopped_and_resumed(config)
    name = (run.path / "wandb.txt").read_text()
    records = list((run.path / "wandb").glob(f"offline-run-*-{name}/run-{name}.wandb"))
    assert len(records) == 2  # one a call, of the same run
    assert all(record.stat().st_size > 0 for record in records)
    assert list((run.path / "wandb").glob("**/samples_*.png"))


@pytest.mark.parametrize("package", ["mlflow", "wandb"])
def test_a_tracker_that_is_not_installed_is_said_before_the_run(folder, monkeypatch, package):
    monkeypatch.setattr(plan.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=rf"logging.{package} needs the package {package}: pip install"):
        plan_run(tiny_config(folder, logging={package: True}))


def test_a_tracker_that_fails_does_not_end_the_run_and_is_left(folder, monkeypatch, caplog):
    asked = []

    class Away:
        def log(self, line):
            asked.append(line["step"])
            raise ConnectionError("the server is away")

        def show(self, name, picture, step):
            asked.append(name)

        def close(self, *, finished):
            asked.append("close")

    monkeypatch.setattr(writer, "open_trackers", lambda *_: [Away()])
    run = RunFolder.create(tiny_config(folder, 3, logging={"sample_every": 3}), {})
    assert train_loop(run.config, run).step == 3
    assert asked == [1]
    assert [line for line in caplog.messages if "not told any more: the server is away" in line]


def test_a_tracker_that_does_not_take_a_new_run_ends_it_and_an_old_one_goes_on(folder, monkeypatch, caplog):
    def away(*_):
        raise ConnectionError("no server")

    monkeypatch.setattr(trackers, "WeightsAndBiases", away)
    config = tiny_config(folder, logging={"wandb": True})
    run = RunFolder.create(config, {})
    with pytest.raises(UserError, match="does not take the run: no server"):
        trackers.open_trackers(config, run, 0)
    [board] = trackers.open_trackers(config, run, 5)
    board.close()
    assert [line for line in caplog.messages if "does not take the run back: no server" in line]
