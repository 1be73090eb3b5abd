"""The loop: exact resume, what it writes down, stopping, and losses that break."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from art2real.errors import UserError
from art2real.training import data, parts, writer
from art2real.training.loop import Outcome, train_loop
from art2real.training.run_folder import RunFolder
from art2real.training.state import Snapshot
from tests.training.runs import dies_at, tiny_config, write_domains
from tests.training.test_step import TensorSource, sources


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in one order: bit for bit the same results."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def folder(tmp_path):
    write_domains(tmp_path)
    return tmp_path


def losses_of(run):
    return {line["step"]: line["losses"] for line in run.stats()}


class Stopping(RunFolder):
    """Asks itself to stop once step 3 is in the log."""

    def append_stats(self, line):
        super().append_stats(line)
        if line["step"] == 3:
            self.ask_to_stop()


@pytest.mark.parametrize("contextual", [False, True], ids=["cyclegan", "contextual"])
def test_n_steps_a_stop_and_n_more_are_2n(folder, contextual, monkeypatch):
    monkeypatch.setattr(writer, "_SECONDS_BETWEEN_LOOKS", 0.0)
    settings = {"contextual": {"bank": "a bank", "neighbours": 3, "draws": 8}} if contextual else {}
    bank = sources() if contextual else None
    settings["schedule"] = {"warmup_steps": 3, "clip_norm": 1.0, "ema_decay": 0.9}
    config = tiny_config(folder, 8, logging={"checkpoint_every": 3}, **settings)
    through, halted = RunFolder.create(config, {}), RunFolder.create(config, {})

    assert train_loop(config, through, sources=bank) == Outcome(8, 8)
    assert train_loop(config, Stopping(halted.path), sources=bank) == Outcome(4, 8)
    assert halted.checkpoints()[-1] == (4, halted.checkpoint_path(4))
    halted.clear_signals()
    resumed = train_loop(config, halted, sources=bank, resume_from=halted.checkpoints()[-1][1])
    assert resumed == Outcome(8, 8)

    assert losses_of(halted) == losses_of(through)
    assert ("contextual" in losses_of(halted)[1]) is contextual
    for name in ("G", "F", "D_X", "D_Y", "G_average", "F_average", "optimisers", "pools"):
        a, b = (run.checkpoint_path(8) / f"{name}.safetensors" for run in (through, halted))
        assert a.read_bytes() == b.read_bytes(), name


def test_a_kill_between_checkpoints_costs_only_the_steps_since(folder):
    config = tiny_config(folder, 6, logging={"checkpoint_every": 2})
    run = RunFolder.create(config, {})

    with pytest.raises(ConnectionError):
        train_loop(config, run, report=dies_at(4))
    with (run.path / "stats.jsonl").open("a") as file:
        file.write('{"step": 5, "losses": {}}\n{"step": 6, "los')  # the last words of the killed worker
    assert train_loop(config, run, resume_from=run.checkpoint_path(2)).step == 6
    assert [line["step"] for line in run.stats()] == [1, 2, 3, 4, 5, 6]
    assert all(line["losses"] for line in run.stats())


def test_what_a_run_writes_down(folder):
    config = tiny_config(
        folder,
        7,
        logging={"log_every": 3, "sample_every": 4, "checkpoint_every": 2, "keep_checkpoints": 2},
    )
    run = RunFolder.create(config, {})
    reports = []
    train_loop(config, run, report=lambda metrics, checkpoint: reports.append((metrics["step"], checkpoint)))
    assert [line["step"] for line in run.stats()] == [3, 6, 7]
    line = run.stats()[-1]
    assert line["epoch"] == 1.4
    assert line["left_out"] == 0
    assert 0 < line["learning_rate"] < 2e-4
    assert line["steps_per_second"] > 0
    assert [step for step, _ in run.checkpoints()] == sorted({run.best["step"], 6, 7})
    assert reports == [(step, run.checkpoint_path(step)) for step in (2, 4, 6, 7)]
    grids = sorted(path.name for path in (run.path / "samples").iterdir())
    assert grids == ["step-00000004.png", "step-00000007.png"]
    with Image.open(run.path / "samples" / grids[0]) as grid:
        assert grid.size == (3 * 32 + 2 * 4, 3 * 32 + 2 * 4)
        first = np.asarray(grid)[:32, :32].astype(int)
    painting = np.asarray(Image.open(folder / "paintings" / "photo-000.jpg").resize((48, 36), 3))
    assert abs(first - painting[2:34, 8:40]).mean() < 1


@pytest.mark.parametrize("weight", [0, 0.0])
def test_at_weight_0_the_bank_is_never_asked(folder, weight):
    bank = sources()
    config = tiny_config(folder, 2, contextual={"bank": "a bank", "weight": weight})
    run = RunFolder.create(config, {})
    train_loop(config, run, sources=bank)
    assert "contextual" not in run.stats()[-1]["losses"]
    assert all(source.asked == 0 for source in bank.values())


def test_the_best_checkpoint_stays(folder):
    bank = sources()
    config = tiny_config(
        folder,
        8,
        contextual={"bank": "a bank", "neighbours": 3, "draws": 8},
        logging={"checkpoint_every": 2, "keep_checkpoints": 1, "best_by": "contextual"},
    )
    run = RunFolder.create(config, {})
    train_loop(config, run, sources=bank)
    losses = [losses_of(run)[step]["contextual"] for step in range(1, 9)]
    means = {step: (losses[step - 2] + losses[step - 1]) / 2 for step in (2, 4, 6, 8)}
    best = min(means, key=means.get)
    assert run.best == {"step": best, "by": "contextual", "value": pytest.approx(means[best])}
    assert [step for step, _ in run.checkpoints()] == sorted({best, 8})


def test_a_stop_in_between_does_not_change_which_checkpoint_is_best(folder, monkeypatch):
    monkeypatch.setattr(writer, "_SECONDS_BETWEEN_LOOKS", 0.0)
    config = tiny_config(folder, 9, logging={"checkpoint_every": 3, "keep_checkpoints": 9})
    through, halted = RunFolder.create(config, {}), RunFolder.create(config, {})
    train_loop(config, through)
    assert train_loop(config, Stopping(halted.path)).step == 4
    halted.clear_signals()
    train_loop(config, halted, resume_from=halted.checkpoint_path(4))
    assert halted.best == through.best

    def values(run):
        records = [json.loads((path / "checkpoint.json").read_text()) for _, path in run.checkpoints()]
        return {record["step"]: record["judged"] for record in records if record["step"] % 3 == 0}

    assert values(halted) == values(through)
    assert [each["steps"] for each in values(through).values()] == [3, 3, 3]


def test_without_a_best_only_the_newest_stay(folder):
    config = tiny_config(folder, 6, logging={"checkpoint_every": 2, "keep_checkpoints": 1, "best_by": None})
    run = RunFolder.create(config, {})
    train_loop(config, run)
    assert run.best is None
    assert [step for step, _ in run.checkpoints()] == [6]


def test_training_goes_on_while_a_checkpoint_is_written(folder, monkeypatch):
    written = threading.Event()
    write = Snapshot.write

    def slowly(self, to):
        if self.record["step"] == 2:
            assert written.wait(60)
        write(self, to)

    class Watching(RunFolder):
        def append_stats(self, line):
            super().append_stats(line)
            if line["step"] == 3:
                assert self.checkpoints() == []
                written.set()

    monkeypatch.setattr(Snapshot, "write", slowly)
    config = tiny_config(folder, 4, logging={"checkpoint_every": 2})
    run = Watching(RunFolder.create(config, {}).path)
    reports = []
    train_loop(config, run, report=lambda metrics, checkpoint: reports.append(metrics["step"]))
    assert reports == [2, 4]
    assert [step for step, _ in run.checkpoints()] == [2, 4]


def test_a_checkpoint_that_cannot_be_written_ends_the_run_with_the_one_before_it(folder, monkeypatch):
    write = Snapshot.write

    def full(self, to):
        if self.record["step"] == 4:
            raise OSError(28, "No space left on device")
        write(self, to)

    monkeypatch.setattr(Snapshot, "write", full)
    config = tiny_config(folder, 8, logging={"checkpoint_every": 2})
    run = RunFolder.create(config, {})
    with pytest.raises(UserError, match=r"step-00000004 cannot be written: No space left on device; make"):
        train_loop(config, run)
    assert [step for step, _ in run.checkpoints()] == [2]


def test_a_retrieval_that_fails_for_good_leaves_a_checkpoint_to_go_on_from(folder):
    class Lost(TensorSource):
        def nearest(self, patches, k):
            if self.asked == 3:
                raise UserError("scale 8:5: index shard 0 is lost")
            return super().nearest(patches, k)

    def bank(kind):
        return {scale: kind(source.real) for scale, source in sources().items()}

    config = tiny_config(folder, 6, contextual={"bank": "a bank", "neighbours": 3, "draws": 8})
    through, halted = RunFolder.create(config, {}), RunFolder.create(config, {})
    train_loop(config, through, sources=bank(TensorSource))
    with pytest.raises(
        UserError, match=r"shard 0 is lost; the 3 steps before it are saved in .*step-00000003"
    ):
        train_loop(config, halted, sources=bank(Lost))
    train_loop(config, halted, sources=bank(TensorSource), resume_from=halted.checkpoint_path(3))
    assert losses_of(halted) == losses_of(through)


def test_images_that_are_not_to_be_had_any_more_leave_a_checkpoint(folder, monkeypatch):
    def gone(entry, limits, anonymous):
        raise UserError(f"{entry.source}: the store does not answer")

    class Watching(RunFolder):
        def append_stats(self, line):
            super().append_stats(line)
            monkeypatch.setattr(data, "read_entry", gone)

    monkeypatch.setattr(data.ImageStream.__init__, "__kwdefaults__", {"anonymous": False, "cache_bytes": 0})
    monkeypatch.setattr(data, "_BATCHES_AHEAD", 1)
    run = Watching(RunFolder.create(tiny_config(folder, 50), {}).path)
    with pytest.raises(UserError, match=r"does not answer; the \d+ steps before it are saved in"):
        train_loop(run.config, run)
    [(step, _)] = run.checkpoints()
    assert step == run.stats()[-1]["step"]


def test_a_worker_that_sees_other_images_is_refused(folder):
    run = RunFolder.create(tiny_config(folder), {"photos": 6})
    with pytest.raises(UserError, match=r"photos: 5 images are seen here, but 6 where"):
        train_loop(run.config, run)


def test_pictures_of_retrieved_patches(folder):
    config = tiny_config(
        folder, 2, contextual={"bank": "a bank", "neighbours": 3}, logging={"sample_every": 2}
    )
    run = RunFolder.create(config, {})
    train_loop(config, run, sources=sources())
    with Image.open(run.path / "retrieved" / "step-00000002.png") as sheet:
        assert sheet.size == (2 * (6 * 36 - 4) + 16, 12 * 36 - 4)


def test_a_loss_that_breaks_is_named_and_the_last_checkpoint_kept(folder, monkeypatch):
    class Broken:
        def prepare(self, generated, source, random):
            self.calls = getattr(self, "calls", 0) + 1
            broken = self.calls > 6  # two scales a step: in the fourth step
            return lambda rows: rows.sum() * (torch.nan if broken else 0.0)

    broken = Broken()
    monkeypatch.setattr(parts, "estimator_of", lambda config: broken)
    config = tiny_config(folder, 6, contextual={"bank": "a bank"}, logging={"checkpoint_every": 2})
    run = RunFolder.create(config, {})
    with pytest.raises(
        UserError, match=r"loss contextual became nan at step 4; the last good .*step-00000002"
    ):
        train_loop(config, run, sources=sources())
    assert [step for step, _ in run.checkpoints()] == [2]
    assert [line["step"] for line in run.stats()] == [1, 2, 3]


def test_a_gradient_that_breaks_ends_the_run_before_it_is_saved(folder, monkeypatch):
    class Broken:
        def prepare(self, generated, source, random):
            return lambda rows: (rows * 0).sum().abs().sqrt()  # 0, with a gradient that is not a number

    monkeypatch.setattr(parts, "estimator_of", lambda config: Broken())
    config = tiny_config(folder, 6, contextual={"bank": "a bank"}, logging={"checkpoint_every": 1})
    run = RunFolder.create(config, {})
    with pytest.raises(UserError, match=r"the gradient of the generators became nan at step 1; there is no"):
        train_loop(config, run, sources=sources())
    assert run.checkpoints() == []


def test_queries_without_a_lost_shard_are_in_every_log_line(folder):
    bank = sources()
    for source in bank.values():
        source.missing = 4
    config = tiny_config(folder, 2, contextual={"bank": "a bank", "neighbours": 3, "draws": 8})
    run = RunFolder.create(config, {})
    train_loop(config, run, sources=bank)
    assert [line["missing_shard_queries"] for line in run.stats()] == [8, 8]


def test_a_broken_painting_is_counted_in_the_log(folder):
    (folder / "paintings" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    config = tiny_config(folder, 5)
    run = RunFolder.create(config, {})
    train_loop(config, run)
    assert run.stats()[-1]["left_out"] == 1


def test_stats_are_json_lines_that_other_tools_read(folder):
    config = tiny_config(folder, 1)
    run = RunFolder.create(config, {})
    train_loop(config, run)
    text = (run.path / "stats.jsonl").read_text()
    assert text.endswith("\n")
    assert set(json.loads(text)) == {
        "step",
        "epoch",
        "learning_rate",
        "losses",
        "gradient_norms",
        "steps_per_second",
        "retrieval_seconds",
        "retrieval_waited",
        "affinity_seconds",
        "data_waited",
        "missing_shard_queries",
        "left_out",
    }
    assert run.last_stats() == run.stats()[-1]
