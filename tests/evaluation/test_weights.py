"""Files of weights: found, told from others, read without running what is in them."""

from __future__ import annotations

import os
import pickle
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from art2real.data.checksums import file_sha256
from art2real.errors import UserError
from art2real.evaluation import weights as module
from art2real.evaluation.networks import NETWORKS
from art2real.evaluation.weights import ADDRESSES, find_weights, read_weights

TENSORS = {"layer.weight": torch.arange(6.0).view(2, 3), "layer.steps": torch.tensor(7)}


@pytest.fixture(autouse=True)
def checkpoints(tmp_path, monkeypatch) -> Path:
    """An empty cache of torch's, and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(socket, "socket", lambda *args, **kwargs: pytest.fail("it asked the network"))
    folder = tmp_path / "torch/hub/checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def file(tmp_path) -> Path:
    torch.save(TENSORS, tmp_path / "given.pth")
    return tmp_path / "given.pth"


def publish(monkeypatch, file: Path) -> str:
    """Has a file be the published one of Inception; returns the name that it is published by."""
    name = f"weights-of-a-test-{file_sha256(file)[:8]}.pth"
    monkeypatch.setitem(ADDRESSES, "inception", f"https://example.org/{name}")
    return name


# Finding


def test_addresses_are_those_of_the_libraries():
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
    from torchvision.models import ResNet152_Weights, VGG19_Weights

    assert set(ADDRESSES) == set(NETWORKS)
    assert ADDRESSES["inception"] == URL_INCEPTION_V3
    assert ADDRESSES["vgg19"] == VGG19_Weights.IMAGENET1K_V1.url
    assert ADDRESSES["resnet152"] == ResNet152_Weights.IMAGENET1K_V1.url


@pytest.mark.parametrize(
    ("network", "name"),
    [
        ("inception", "weights-inception-2015-12-05-6726825d.pth"),
        ("vgg19", "vgg19-dcbb9e9d.pth"),
        ("resnet152", "resnet152-394f9c45.pth"),
    ],
)
def test_missing_weights_are_one_line_that_says_what_to_do(checkpoints, network, name):
    with pytest.raises(UserError) as error:
        find_weights(network)
    message = str(error.value)
    assert name in message
    assert str(checkpoints) in message
    assert ADDRESSES[network] in message
    assert "--weights" in message
    assert "\n" not in message


def test_published_weights_are_found_in_the_cache(checkpoints, file, monkeypatch):
    name = publish(monkeypatch, file)
    file.rename(checkpoints / name)
    found = find_weights("inception")
    assert found.path == checkpoints / name
    assert found.sha256 == file_sha256(found.path)
    assert found.published


def test_inception_is_found_by_the_name_that_pytorch_fid_gives_it(checkpoints, file, monkeypatch):
    name = publish(monkeypatch, file)
    other = checkpoints / "pt_inception-2015-12-05-6726825d.pth"
    file.rename(other)
    assert find_weights("inception").path == other
    other.rename(checkpoints / name)
    assert find_weights("inception").path == checkpoints / name


def test_a_damaged_file_in_the_cache_is_refused(checkpoints, file):
    cached = checkpoints / "vgg19-dcbb9e9d.pth"
    file.rename(cached)
    with pytest.raises(UserError, match=r"vgg19-dcbb9e9d\.pth: not the published weights .*not dcbb9e9d"):
        find_weights("vgg19")


def test_a_given_file_is_told_by_its_content(file, monkeypatch):
    publish(monkeypatch, file)
    assert find_weights("inception", file).published


def test_other_weights_are_refused_unless_any_will_do(file):
    with pytest.raises(
        UserError, match=r"given\.pth: not the published weights of inception .*--any-weights"
    ) as error:
        find_weights("inception", file)
    assert "\n" not in str(error.value)
    found = find_weights("inception", file, any_weights=True)
    assert (found.network, found.path, found.published) == ("inception", file, False)
    assert found.sha256 == file_sha256(file)


def test_a_given_file_has_to_be_there(tmp_path):
    with pytest.raises(UserError, match=r"gone\.pth: there is no such file.*https://"):
        find_weights("vgg19", tmp_path / "gone.pth", any_weights=True)
    with pytest.raises(UserError, match="a folder; give the file"):
        find_weights("vgg19", tmp_path, any_weights=True)


# Reading


def read(path: Path) -> dict[str, torch.Tensor]:
    return read_weights(find_weights("inception", path, any_weights=True))


def write(path: Path, kind: str, tensors: dict[str, torch.Tensor] = TENSORS) -> Path:
    if kind == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "torch")
    return path


KINDS = ["safetensors", "torch", "torch of old"]


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_of_files_are_read_whatever_their_name(tmp_path, kind):
    found = read(write(tmp_path / "weights.bin", kind))
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_a_truncated_file_is_named(tmp_path, kind, share):
    path = write(tmp_path / "weights.pth", kind)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(UserError, match=r"weights\.pth: cannot be read as weights") as error:
        read(path)
    assert "\n" not in str(error.value)


def test_a_text_is_no_weights(tmp_path):
    (tmp_path / "weights.pth").write_text("<html>404 not found</html>")
    with pytest.raises(UserError, match=r"weights\.pth: cannot be read as weights"):
        read(tmp_path / "weights.pth")


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4")
def test_nothing_in_a_file_is_run(tmp_path, protocol):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "it ran"),)

    (tmp_path / "weights.pth").write_bytes(pickle.dumps({"layer.weight": Trap()}, protocol))
    torch.save({"layer.weight": Trap()}, tmp_path / "zipped.pth")
    for name in ("weights.pth", "zipped.pth"):
        with pytest.raises(UserError, match="cannot be read as weights"):
            read(tmp_path / name)
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize("content", [[torch.ones(2)], {"state_dict": TENSORS}, torch.ones(2), {"epoch": 3}])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="holds something else than tensors by name"):
        read(tmp_path / "weights.pth")


def test_halves_are_read_as_floats(tmp_path):
    found = read(
        write(tmp_path / "half.safetensors", "safetensors", {"a": torch.ones(3, dtype=torch.float16)})
    )
    assert found["a"].dtype == torch.float32


def test_weights_that_are_not_numbers_are_named(tmp_path):
    broken = {"fine": torch.ones(2), "layer.bias": torch.tensor([1.0, float("nan")])}
    with pytest.raises(UserError, match=r"layer\.bias has values that are not numbers"):
        read(write(tmp_path / "weights.safetensors", "safetensors", broken))


def test_weights_that_changed_after_they_were_looked_at_are_refused(tmp_path):
    path = write(tmp_path / "weights.pth", "torch")
    found = find_weights("inception", path, any_weights=True)
    write(path, "torch", {"layer.weight": torch.zeros(2, 3)})
    with pytest.raises(UserError, match="are not those that they were"):
        read_weights(found)
    path.unlink()
    with pytest.raises(UserError, match=r"weights\.pth: the weights cannot be read: No such file"):
        read_weights(found)


def test_every_published_file_says_its_hash():
    assert [module._published_digits(address) for address in ADDRESSES.values()] == [
        "6726825d",
        "dcbb9e9d",
        "394f9c45",
    ]
