"""Finding and reading generators."""

from __future__ import annotations

import pytest
import torch

import art2real
from art2real.config.tree import Networks
from art2real.core.networks import ResNetGenerator, initialise
from art2real.errors import UserError
from art2real.translation.weights import load_generator, save_generator

SIZES = Networks(generator_width=4, generator_blocks=2)


def generator(seed=0):
    made = ResNetGenerator(4, 2)
    initialise(made, torch.Generator().manual_seed(seed))
    return made


@pytest.fixture
def run(tmp_path):
    """A run folder with two checkpoints; the newer one by number is not the newer one by name."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    for seed, step in ((1, 99_999_999), (2, 100_000_000)):
        save_generator(generator(seed), SIZES, tmp_path / "run" / "checkpoints" / f"step-{step:08d}")
    return tmp_path / "run"


def same(one, other):
    return all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_what_is_saved_is_loaded_and_ready_to_translate(tmp_path):
    save_generator(generator(3), SIZES, tmp_path / "weights")
    assert {path.name for path in (tmp_path / "weights").iterdir()} == {"G.safetensors", "checkpoint.json"}
    loaded = art2real.load_generator(tmp_path / "weights")
    assert same(loaded, generator(3))
    assert not loaded.training
    assert not any(weight.requires_grad for weight in loaded.parameters())


def test_of_a_run_the_newest_checkpoint_is_taken(run):
    assert same(load_generator(run), generator(2))
    assert same(load_generator(str(run / "checkpoints" / "step-99999999")), generator(1))


def test_a_half_written_checkpoint_is_passed_over(run):
    newest = run / "checkpoints" / "step-200000000"
    newest.mkdir()
    (newest / "G.safetensors").write_bytes(b"half")
    assert same(load_generator(run), generator(2))


def test_what_is_no_checkpoint_is_named(tmp_path):
    with pytest.raises(UserError, match=r"checkpoint .*nowhere does not exist"):
        load_generator(tmp_path / "nowhere")
    with pytest.raises(UserError, match="neither a checkpoint nor a run folder"):
        load_generator(tmp_path)
    (tmp_path / "config.yaml").touch()
    with pytest.raises(UserError, match="has no checkpoint yet"):
        load_generator(tmp_path)


def test_weights_of_other_sizes_than_the_record_says_are_refused(tmp_path):
    save_generator(generator(), Networks(generator_width=8, generator_blocks=2), tmp_path / "weights")
    with pytest.raises(UserError, match="the weights of G do not fit"):
        load_generator(tmp_path / "weights")


def test_damage_is_one_line(tmp_path):
    save_generator(generator(), SIZES, tmp_path / "weights")
    (tmp_path / "weights" / "G.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(UserError, match=r"G.safetensors is damaged") as caught:
        load_generator(tmp_path / "weights")
    assert "\n" not in str(caught.value)
