"""Training on a real (local) cluster: Ray Train workers, index actors, faults and resuming."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from art2real.data.bank import MemoryBank
from art2real.distributed.train_job import run_training
from art2real.errors import UserError
from art2real.index.retriever import open_retriever
from art2real.index.source import RetrievedScale
from art2real.training.loop import train_loop
from art2real.training.plan import claimed_cpus, plan_run
from art2real.training.run_folder import RunFolder
from art2real.translation.checkpoint import read_part, read_record
from art2real.translation.weights import load_generator
from tests.index.banks import NARROW, WIDE, index_bank, make_bank, request
from tests.training.runs import tiny_config, write_domains

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("train")
    write_domains(made)
    return made


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    made = make_bank(tmp_path_factory.mktemp("bank"))
    index_bank(made, WIDE, request(shards=2))
    index_bank(made, NARROW, request(shards=1))
    return made


def train(config, **callbacks):
    plan = plan_run(config)
    run = RunFolder.create(config, plan.facts)
    return run, run_training(config, run, plan, **callbacks)


def in_process(config):
    """The losses of the same run without Ray: one worker, one thread, the index in this process."""
    sources = {}
    if config.contextual.bank is not None:
        opened = MemoryBank.open(config.contextual.bank)
        sources = {
            scale: RetrievedScale(opened, scale, open_retriever(opened, scale)) for scale in opened.scales
        }
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run = RunFolder.create(config, {})
        train_loop(config, run, sources=sources)
        return losses_of(run)
    finally:
        torch.set_num_threads(before)


def losses_of(run):
    return {line["step"]: line["losses"] for line in run.stats()}


def our_processes(title):
    """Process ids of the actors of that title in this test's cluster, not in another one on the machine."""

    def parent(pid):
        try:
            return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            return 0

    def ours(pid):
        while pid > 1:
            pid = parent(pid)
            if pid == os.getpid():
                return True
        return False

    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if title in command and ours(int(process.name)):
                found.append(int(process.name))
    return found


def test_a_stopped_run_whose_index_actors_are_killed_equals_a_run_without_ray(folder, bank):
    config = tiny_config(
        folder,
        100,
        logging={"checkpoint_every": 60},
        contextual={"bank": str(bank.path), "neighbours": 4, "draws": 64},
    )
    plan = plan_run(config)
    assert plan.index_actors == 3
    assert claimed_cpus(config.cluster, plan.index_actors, cores=16) == 2.5
    run = RunFolder.create(config, plan.facts)
    first = run_training(config, run, plan, on_progress=lambda step, total, losses: run.ask_to_stop())
    assert first.step < first.total == 100
    assert run.finished is None
    assert run.checkpoints()[-1] == (first.step, first.checkpoint)
    killed = []

    def kill(step, total, losses):
        if not killed and step > first.step:
            killed.extend(our_processes(b"ray::IndexActor"))
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    last = run_training(config, run, plan, on_progress=kill)
    assert len(killed) == 3
    assert run.stats()[-1]["missing_shard_queries"] == 0
    assert (last.step, last.total, last.finished) == (100, 100, True)
    assert run.finished == 100
    assert losses_of(run) == in_process(config)
    assert all(0 < losses["contextual"] < 20 for losses in losses_of(run).values())
    assert run.facts["bank"]["identity"] == bank.identity
    assert run.stats()[-1]["retrieval_seconds"] > 0
    assert load_generator(run.path)


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_two_train_as_one_with_twice_the_batch(folder):
    steps = 150
    config = tiny_config(
        folder,
        steps,
        schedule={"pool_size": 50},
        logging={"checkpoint_every": 10},
        cluster={"workers": 2, "max_failures": 1},
    )
    killed = []

    def kill(step, total, losses):
        if not killed and step >= 10:
            killed.append(our_processes(b"RayTrainWorker")[0])
            os.kill(killed[0], signal.SIGKILL)

    run, result = train(config, on_progress=kill)
    assert len(killed) == 1
    assert result.finished
    assert [line["step"] for line in run.stats()] == list(range(1, steps + 1))
    pools = read_part(result.checkpoint, read_record(result.checkpoint), "pools")
    assert {name: len(images) for name, images in pools.items()} == dict.fromkeys(
        ("0.X", "0.Y", "1.X", "1.Y"), 50
    )
    # As long as the pools have room they show each image as it is made, so their number makes no difference.
    alone = in_process(tiny_config(folder, 5, schedule={"pool_size": 50, "batch_size": 2}))
    for step in range(1, 4):
        assert losses_of(run)[step] == pytest.approx(alone[step], rel=1e-3), step


@pytest.mark.parametrize("on_missing_shard", ["error", pytest.param("skip", marks=pytest.mark.slow)])
def test_a_shard_that_is_lost_for_good(folder, bank, tmp_path, on_missing_shard):
    spoiled = shutil.copytree(bank.path, tmp_path / "bank")
    config = tiny_config(
        folder,
        80,
        runs=str(tmp_path / "runs"),
        contextual={"bank": str(spoiled), "neighbours": 4, "draws": 64},
        # Long enough for the other actors to be started again on a busy machine: a file that cannot be loaded
        # is told at once.
        cluster={"query_timeout": 60, "on_missing_shard": on_missing_shard},
    )
    lost = []

    def lose(step, total, losses):
        if not lost and step >= 5:
            lost.append(step)
            first = sorted((spoiled / "index" / WIDE.name).glob("part-*"))[0]
            first.write_bytes(b"")
            for pid in our_processes(b"ray::IndexActor"):
                os.kill(pid, signal.SIGKILL)

    plan = plan_run(config)
    run = RunFolder.create(config, plan.facts)
    if on_missing_shard == "error":
        with pytest.raises(UserError, match=r"steps before it are saved in .*: --resume goes on"):
            run_training(config, run, plan, on_progress=lose)
        [(step, _)] = run.checkpoints()
        assert step == run.stats()[-1]["step"]
        return
    assert run_training(config, run, plan, on_progress=lose).finished
    counts = [line["missing_shard_queries"] for line in run.stats()]
    assert counts[0] == 0
    assert counts[-1] > 0
    assert counts == sorted(counts)


@pytest.mark.slow
def test_a_node_that_dies_takes_a_worker_and_an_index_actor_with_it(folder, bank):
    script = Path(__file__).with_name("training_node_death.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder), str(bank.path)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["nodes"] == 2  # the head, which trains nothing, and the one that is left
    assert report["killed_at"] < 400
    assert report["finished"]
    assert report["steps"]
    assert report["images_a_step"] == [1, 2]
    assert report["last_images"] == 1  # one worker is left
    assert report["missing"] == 0


def test_a_mistake_inside_a_worker_is_the_users_one_line_and_is_not_tried_again(folder, tmp_path):
    write_domains(tmp_path)
    for path in (tmp_path / "photos").iterdir():
        path.write_bytes(b"\xff\xd8\xff\xe0 no more")
    with pytest.raises(UserError, match=r"photos: none of its 5 images can be used"):
        train(tiny_config(tmp_path, cluster={"max_failures": 3}))
    assert not list((tmp_path / "runs").iterdir())
