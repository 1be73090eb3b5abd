"""Settings: what is read, what is refused, and how the refusal reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from art2real.config.load import load_config, save_config
from art2real.config.tree import Schedule
from art2real.errors import UsageError

REPOSITORY = Path(__file__).parents[2]
MINIMAL = "name: trial\ndata: {paintings: art, photos: real}\n"


@pytest.fixture
def write(tmp_path):
    def write_file(text: str) -> Path:
        path = tmp_path / "run.yaml"
        path.write_text(text)
        return path

    return write_file


def test_defaults_are_the_published_settings(write):
    config = load_config(write(MINIMAL))
    assert (config.data.load_size, config.data.crop_size) == (286, 256)
    assert (config.networks.generator_width, config.networks.generator_blocks) == (64, 9)
    assert (config.objective.cycle_weight, config.objective.identity_weight) == (10.0, 0.5)
    schedule = config.schedule
    assert (schedule.epochs, schedule.decay_epochs, schedule.batch_size) == (100, 100, 1)
    assert (schedule.learning_rate, schedule.beta1, schedule.beta2, schedule.pool_size) == (
        2e-4,
        0.5,
        0.999,
        50,
    )


def test_set_overrides_the_file_and_reads_values_as_yaml(write):
    path = write(MINIMAL + "schedule: {epochs: 7}\n")
    overrides = ["schedule.epochs=3", "contextual.scales=['8:5', '4:4']", "contextual.weight=null", "name=b"]
    config = load_config(path, [*overrides, "schedule.learning_rate=1e-4"])
    assert config.schedule.epochs == 3
    assert config.contextual.scales == ("8:5", "4:4")
    assert config.contextual.weight is None
    assert config.name == "b"
    assert config.schedule.learning_rate == 1e-4


def test_a_saved_configuration_loads_back_equal(write, tmp_path):
    config = load_config(write(MINIMAL), ["contextual.scales=['8:5']", "cluster.use_gpu=false"])
    save_config(config, tmp_path / "resolved.yaml")
    assert load_config(tmp_path / "resolved.yaml") == config


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="frozen"):
        Schedule().epochs = 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("schedule.epoch=3", r"unknown key schedule\.epoch; did you mean schedule\.epochs\?"),
        ("learning_rate=1", r"unknown key learning_rate; did you mean schedule\.learning_rate\?"),
        ("schedul.epochs=1", r"unknown key schedul; did you mean schedule\?"),
        ("contextual.zzzz=1", r"unknown key contextual\.zzzz; known here: bank, estimator"),
        ("schedule.epochs=many", r"schedule\.epochs: input should be a valid integer"),
        ("schedule.learning_rate=0", r"schedule\.learning_rate: input should be greater than 0"),
        ("contextual.estimator=magic", r"contextual\.estimator: input should be 'exact', 'union', 'sparse'"),
        ("contextual.scales=['16']", r"contextual: '16' is not a scale; write SIZE:STRIDE"),
        ("data.crop_size=300", r"data: crop_size 300 is larger than load_size 286"),
        ("data.crop_size=255", r"data: crop_size 255 is not divisible by 4"),
        (
            "cluster.index_gpus=2",
            r"cluster: index_gpus 2 is no share of one GPU.*write 0, 1, or a share such as",
        ),
        ("cluster.index_gpus=0.00001", r"cluster: index_gpus 1e-05 is no share of one GPU"),
        ("schedule.epochs", r"--set schedule\.epochs: write it as key=value"),
        ("name.x=1", r"--set name\.x=1: name is a value, not a section"),
        ("data.photos=[", r"--set data\.photos=\[: the value is not valid YAML"),
        ("schedule=3", r"schedule: input should be a valid dictionary"),
    ],
)
def test_wrong_settings_are_named(write, override, message):
    with pytest.raises(UsageError, match=message):
        load_config(write(MINIMAL), [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no `key: value` lines"),
        ("- a\n- b\n", "has no `key: value` lines"),
        ("name: x\n  bad: [", "line 2 is not valid YAML"),
        ("name: trial\n", "data is missing; add it, or use --set"),
        ("name: trial\ndata: {photos: real}\n", r"data\.paintings is missing"),
        ("name: a/../b\ndata: {paintings: a, photos: b}\n", "name: string should match pattern"),
    ],
)
def test_wrong_files_are_named(write, text, message):
    with pytest.raises(UsageError, match=message):
        load_config(write(text))


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none\.yaml cannot be read: No such file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UsageError, match="not a text file"):
        load_config(tmp_path / "binary.yaml")


# serve.yaml is Serve's, and tested with the service.
RUNS = sorted(set((REPOSITORY / "configs").glob("*.yaml")) - {REPOSITORY / "configs" / "serve.yaml"})


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_shipped_configurations_are_valid(path):
    assert load_config(path).name
