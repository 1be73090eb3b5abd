"""Checkpoints: whole or absent, checked when read, and refused when they do not fit."""

from __future__ import annotations

import json
import resource

import pytest
import torch

from art2real.config.tree import Compute, Networks, Objective, Schedule
from art2real.errors import UserError
from art2real.training.state import Progress, load_state, pools_of, take_snapshot
from art2real.training.step import CycleGAN, build_networks
from art2real.translation.weights import load_generator
from tests.training.runs import tiny_config
from tests.training.test_step import batch

FILES = {
    "G.safetensors",
    "F.safetensors",
    "D_X.safetensors",
    "D_Y.safetensors",
    "optimisers.safetensors",
    "pools.safetensors",
    "checkpoint.json",
}


def model(config, seed=0):
    return CycleGAN(build_networks(config.networks, seed), Objective(), Schedule(pool_size=3))


def save_state(folder, trained, step, config, pools=None):
    take_snapshot(trained, Progress(step, 3 * step), config, pools).write(folder)


@pytest.fixture
def config(tmp_path):
    return tiny_config(tmp_path)


@pytest.fixture
def saved(tmp_path, config):
    trained = model(config)
    for step in range(2):
        trained.step(batch(seed=step), batch(seed=9 + step), step)
    save_state(tmp_path / "runs" / "step-2", trained, 2, config)
    return tmp_path / "runs" / "step-2", trained


def test_a_checkpoint_is_the_whole_state(saved, config):
    folder, trained = saved
    assert {path.name for path in folder.iterdir()} == FILES
    other = model(config, seed=1)
    assert load_state(folder, other, config) == Progress(2, 6)
    for step in (2, 3):
        a, b = (each.step(batch(seed=step), batch(seed=9 + step), step) for each in (trained, other))
        assert {name: float(value) for name, value in a.items()} == {
            name: float(value) for name, value in b.items()
        }


def test_the_record_says_what_it_is(saved, config):
    record = json.loads((saved[0] / "checkpoint.json").read_text())
    assert record["format_version"] == 1
    assert (record["step"], record["images"]) == (2, 6)
    assert record["networks"] == config.networks.model_dump()
    assert record["config"] == config.model_dump(mode="json")
    assert set(record["files"]) == FILES - {"checkpoint.json"}


def test_saving_again_replaces_and_leaves_nothing_beside_it(saved, config):
    folder, trained = saved
    before = (folder / "G.safetensors").read_bytes()
    trained.step(batch(), batch(), 2)
    save_state(folder, trained, 3, config)
    assert (folder / "G.safetensors").read_bytes() != before
    assert [path.name for path in folder.parent.iterdir()] == ["step-2"]


def test_a_save_that_fails_leaves_the_old_checkpoint_and_no_half_one(saved, config, monkeypatch):
    folder, trained = saved
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("art2real.translation.checkpoint.file_sha256", full)
    with pytest.raises(OSError, match="No space"):
        save_state(folder, trained, 3, config)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["step-2"]


def test_networks_of_another_size_are_refused(saved, config):
    wider = config.model_copy(
        update={"networks": Networks(generator_width=8, generator_blocks=1, discriminator_width=4)}
    )
    with pytest.raises(UserError, match=r"networks.generator_width is 4, here 8"):
        load_state(saved[0], model(wider), wider)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_named(saved, config, name):
    (saved[0] / name).unlink()
    with pytest.raises(UserError, match=name):
        load_state(saved[0], model(config), config)


@pytest.mark.parametrize("name", sorted(FILES - {"checkpoint.json"}))
def test_a_damaged_file_is_named(saved, config, name):
    content = bytearray((saved[0] / name).read_bytes())
    content[-3] ^= 1
    (saved[0] / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} is damaged"):
        load_state(saved[0], model(config), config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "is damaged"),
        ('{"files": {}, "format_version": 2}', "has format 2"),
        ('{"files": {}, "format_version": 1}', "how large"),
    ],
)
def test_a_damaged_record_is_refused(saved, config, change, message):
    (saved[0] / "checkpoint.json").write_text(change)
    with pytest.raises(UserError, match=message):
        load_state(saved[0], model(config), config)


def test_each_worker_gets_its_own_pools_back(tmp_path, config):
    first, second = model(config), model(config)
    for trained, seed in ((first, 1), (second, 2)):
        trained.step(batch(seed=seed), batch(seed=seed + 50), 0)
    save_state(tmp_path / "step-1", first, 1, config, {0: pools_of(first), 1: pools_of(second)})
    for rank, trained in enumerate((first, second)):
        loaded = model(config)
        load_state(tmp_path / "step-1", loaded, config, rank)
        assert torch.equal(loaded.pools["X"].images, trained.pools["X"].images)
    newcomer = model(config)
    load_state(tmp_path / "step-1", newcomer, config, 2)
    assert pools_of(newcomer) == {}


def test_averages_are_kept_and_are_what_translates(tmp_path, config):
    def averaged(seed):
        return CycleGAN(build_networks(config.networks, seed), Objective(), Schedule(ema_decay=0.5))

    trained, other = averaged(0), averaged(1)
    for step in range(3):
        trained.step(batch(seed=step), batch(seed=9 + step), step)
    folder = tmp_path / "step-3"
    save_state(folder, trained, 3, config)
    load_state(folder, other, config)
    images = batch(seed=4)
    for name in ("G", "F"):
        assert torch.equal(other.translate(images, name), trained.translate(images, name))
        for each in (trained, other):
            each.step(batch(seed=5), batch(seed=6), 3)
        assert torch.equal(other.translate(images, name), trained.translate(images, name))
    save_state(folder, trained, 5, config)
    with torch.no_grad():
        torch.testing.assert_close(load_generator(folder)(images), trained.translate(images, "G"))
    with pytest.raises(UserError, match=r"has no G_average"):
        save_state(tmp_path / "plain", model(config), 0, config)
        load_state(tmp_path / "plain", other, config)


def test_a_checkpoint_before_the_first_step_can_be_loaded(tmp_path, config):
    save_state(tmp_path / "step-0", model(config, seed=5), 0, config)
    loaded = model(config)
    assert load_state(tmp_path / "step-0", loaded, config) == Progress(0, 0)
    loaded.step(batch(), batch(), 0)


def test_a_snapshot_does_not_follow_the_training(tmp_path, config):
    trained, other = model(config), model(config, seed=1)
    trained.step(batch(seed=1), batch(seed=2), 0)
    snapshot = take_snapshot(trained, Progress(1, 1), config)
    expected = trained.translate(batch(seed=3), "G")
    trained.step(batch(seed=4), batch(seed=5), 1)
    snapshot.write(tmp_path / "step-1")
    load_state(tmp_path / "step-1", other, config)
    assert torch.equal(other.translate(batch(seed=3), "G"), expected)
    assert not torch.equal(trained.translate(batch(seed=3), "G"), expected)


def test_a_checkpoint_that_does_not_say_how_many_images_it_saw(saved, tmp_path, config):
    path = saved[0] / "checkpoint.json"
    record = json.loads(path.read_text())
    del record["images"]
    path.write_text(json.dumps(record))
    two = tiny_config(tmp_path, schedule={"batch_size": 4}, cluster={"workers": 2})
    assert load_state(saved[0], model(config), two) == Progress(2, 16)


def test_a_state_goes_from_one_memory_layout_to_the_other(tmp_path, config):
    def in_layout(channels_last):
        return CycleGAN(
            build_networks(config.networks, 0),
            Objective(),
            Schedule(pool_size=3),
            Compute(channels_last=channels_last),
        )

    models = {layout: in_layout(layout) for layout in (False, True)}
    for step in range(2):
        for trained in models.values():
            trained.step(batch(seed=step), batch(seed=9 + step), step)
    for layout, trained in models.items():
        save_state(tmp_path / str(layout), trained, 2, config)
    for layout, trained in models.items():
        moved = in_layout(not layout)
        load_state(tmp_path / str(layout), moved, config)
        for name in trained.optimisers:
            groups = (each.optimisers[name].param_groups[0]["params"] for each in (trained, moved))
            for one, other in zip(*groups, strict=True):
                assert torch.equal(one, other)
                for key in ("exp_avg", "exp_avg_sq"):
                    moment = moved.optimisers[name].state[other][key]
                    assert torch.equal(moment, trained.optimisers[name].state[one][key])
                    assert moment.stride() == other.stride()
        a, b = (each.step(batch(seed=2), batch(seed=11), 2) for each in (trained, moved))
        assert {k: float(v) for k, v in a.items()} == pytest.approx(
            {k: float(v) for k, v in b.items()}, rel=1e-4
        )


def test_a_file_system_that_takes_no_more_is_an_os_error(tmp_path, config):
    """As the writer of the files itself meets it: not as Python does."""
    snapshot = take_snapshot(model(config), Progress(0, 0), config)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            snapshot.write(tmp_path / "step-1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
