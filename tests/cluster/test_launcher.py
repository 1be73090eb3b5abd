"""The files of Ray's cluster launcher: by Ray's own validation, and pinned."""

from __future__ import annotations

import subprocess

import pytest
import yaml

from tests.cluster.manifests import CLUSTER, IMAGE, locked

FILES = sorted((CLUSTER / "launcher").glob("*.yaml"))
# Memory of the machines that are named, GiB: of the providers' lists.
MACHINES = {
    "m7i.xlarge": 16,
    "c7i.2xlarge": 16,
    "g6.2xlarge": 32,
    "e2-standard-4": 16,
    "n2-standard-8": 32,
    "g2-standard-8": 32,
}
COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
each_file = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])


def written(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def prepared(path):
    """With Ray's defaults filled in, as `ray up` does."""
    from ray.autoscaler._private.util import prepare_config

    return prepare_config(written(path))


def bytes_of(flag, commands):
    (found,) = {word.partition("=")[2] for line in commands for word in line.split() if word.startswith(flag)}
    return int(found)


def test_there_is_one_for_each_place():
    assert [path.stem for path in FILES] == ["aws", "gcp", "onprem"]


@each_file
def test_ray_takes_it(path):
    from ray.autoscaler._private.util import validate_config

    validate_config(prepared(path))


def test_ray_would_refuse_an_unknown_key():
    import jsonschema
    from ray.autoscaler._private.util import validate_config

    with pytest.raises(jsonschema.ValidationError, match="idle_timeout_minute"):
        validate_config({**prepared(FILES[0]), "idle_timeout_minute": 5})


@each_file
def test_what_runs_is_pinned(path):
    config = prepared(path)
    assert config["docker"]["image"] == IMAGE
    assert not {"head_image", "worker_image"} & set(config["docker"])
    commands = [line for name in COMMANDS for line in config[name]]
    assert not [line for line in commands if "latest" in line or "dev0" in line or "ray-wheels" in line]
    # The image's Ray, or none.
    version = locked()["ray"].replace(".", "\\.")
    assert f"ray --version | grep -q '{version}$'" in config["head_setup_commands"]
    assert f"ray --version | grep -q '{version}$'" in config["worker_setup_commands"]
    for line in commands:
        if "pip install" in line:
            assert all("==" in word for word in line.split("install", 1)[1].split() if word[0] != "-")


@each_file
def test_every_command_is_shell(path):
    for name in COMMANDS:
        for line in written(path).get(name, ()):
            subprocess.run(["bash", "-n", "-c", line], check=True)


@each_file
def test_nobody_gets_in_without_the_token(path):
    config = written(path)
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert config["file_mounts"] == {"~/.ray": "~/.ray"}
    (head,) = (line for line in config["head_start_ray_commands"] if "--head" in line)
    assert "--dashboard-host=127.0.0.1" in head


def test_at_aws_ssh_alone_is_open_and_not_to_everybody():
    (rule,) = written(CLUSTER / "launcher" / "aws.yaml")["provider"]["security_group"]["IpPermissions"]
    assert (rule["FromPort"], rule["ToPort"]) == (22, 22)
    assert "0.0.0.0/0" not in str(rule)


@each_file
def test_the_object_store_fits_into_shared_memory_and_both_into_the_machine(path):
    config = written(path)
    (shm,) = (each for each in config["docker"]["run_options"] if each.startswith("--shm-size="))
    shm_bytes = int(shm.removeprefix("--shm-size=").removesuffix("gb")) << 30
    stores = {
        bytes_of("--object-store-memory=", config[name])
        for name in ("head_start_ray_commands", "worker_start_ray_commands")
    }
    (store,) = stores
    assert store <= shm_bytes
    for kind in config.get("available_node_types", {}).values():
        node = kind["node_config"]
        machine = MACHINES[node.get("InstanceType") or node["machineType"]] << 30
        assert kind["resources"].get("memory", 0) + store <= machine - 2**31


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_workers_are_spot_and_idle_ones_end(name):
    config = written(CLUSTER / "launcher" / f"{name}.yaml")
    kinds = config["available_node_types"]
    assert config["idle_timeout_minutes"] <= 10
    assert config["head_node_type"] == "head"
    for role, kind in kinds.items():
        assert kind["labels"] == {"art2real/role": role}
        text = str(kind["node_config"])
        assert ("spot" in text or "preemptible" in text) == (role != "head")
    assert kinds["head"]["resources"] == {"CPU": 0}
    assert kinds["train"]["resources"]["GPU"] == 1
    assert kinds["banks"]["min_workers"] == 1
    assert sum(kind.get("max_workers", 0) for kind in kinds.values()) <= config["max_workers"]
