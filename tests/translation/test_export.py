"""Generators for other programs: what is written gives what the generator gives."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

import art2real
from art2real.config.tree import Networks
from art2real.core.networks import ResNetGenerator, initialise
from art2real.errors import UsageError, UserError
from art2real.translation import export as module
from art2real.translation.export import export, greatest_difference
from art2real.translation.weights import load_generator, save_generator

SIZES = [(1, 8, 8), (1, 12, 8), (3, 20, 64), (2, 8, 132)]


@pytest.fixture
def generator():
    made = ResNetGenerator(4, 1).eval().requires_grad_(False)
    random = torch.Generator().manual_seed(0)
    initialise(made, random)
    for name, weight in made.named_parameters():
        if name.endswith("bias"):
            weight.normal_(0.0, 0.3, generator=random)
    return made


@pytest.fixture
def checkpoint(tmp_path, generator):
    save_generator(generator, Networks(generator_width=4, generator_blocks=1), tmp_path / "weights")
    return tmp_path / "weights"


def compare(graph, generator):
    for batch, height, width in SIZES:
        images = torch.rand(batch, 3, height, width) * 2 - 1
        torch.testing.assert_close(graph(images), generator(images), rtol=0, atol=1e-4)


def left_over(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "weights")


def test_safetensors_is_loaded_again(tmp_path, checkpoint, generator):
    made = export(checkpoint, tmp_path / "new" / "monet", "safetensors")
    assert made.path == tmp_path / "new" / "monet"
    assert made.greatest_difference == 0
    assert {path.name for path in made.path.iterdir()} == {"model.safetensors", "config.json"}
    loaded = art2real.load_generator(made.path)
    assert not loaded.training
    assert not any(weight.requires_grad for weight in loaded.parameters())
    compare(loaded, generator)
    # And from there it goes on.
    again = export(made.path, tmp_path / "again", "safetensors")
    assert again.sha256 == made.sha256
    config = json.loads((made.path / "config.json").read_text())
    assert {key: config[key] for key in ("architecture", "width", "blocks", "format_version", "sha256")} == {
        "architecture": "ResNetGenerator",
        "width": 4,
        "blocks": 1,
        "format_version": 1,
        "sha256": made.sha256,
    }
    assert config["input"]["shape"] == ["batch", 3, "height", "width"]


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("model.safetensors", lambda old: old[:-1], "damaged"),
        ("config.json", lambda old: b"{", "cannot be read"),
        ("config.json", lambda old: b"[]", "does not describe a generator"),
        (
            "config.json",
            lambda old: old.replace(b"ResNetGenerator", b"Bert"),
            "does not describe a generator",
        ),
        ("config.json", lambda old: old.replace(b'_version": 1', b'_version": 2'), "has format 2"),
        ("config.json", lambda old: old.replace(b'"width": 4', b'"width": -4'), "how large its network is"),
        ("config.json", lambda old: old.replace(b'"width": 4', b'"width": 8'), "do not fit"),
    ],
)
def test_a_damaged_folder_is_one_line(tmp_path, checkpoint, file, change, words):
    path = export(checkpoint, tmp_path / "out", "safetensors").path
    (path / file).write_bytes(change((path / file).read_bytes()))
    with pytest.raises(UserError, match=words) as caught:
        load_generator(path)
    assert "\n" not in str(caught.value)


def test_torch_export_takes_any_size(tmp_path, checkpoint, generator):
    made = export(checkpoint, tmp_path / "monet.pt2", "torch-export")
    about = {"config.json": ""}
    compare(torch.export.load(made.path, extra_files=about).module(), generator)
    assert json.loads(about["config.json"])["input"]["name"] == "image"
    assert left_over(tmp_path) == ["monet.pt2"]
    with pytest.raises(UserError, match=r"monet.pt2 is a graph for other programs"):
        load_generator(made.path)


def test_onnx_takes_any_size_and_is_one_file(tmp_path, checkpoint, generator):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    made = export(checkpoint, tmp_path / "monet.onnx", "onnx")
    assert made.greatest_difference is not None
    assert made.greatest_difference < 1e-3
    assert left_over(tmp_path) == ["monet.onnx"]
    session = runtime.InferenceSession(made.path.read_bytes(), providers=["CPUExecutionProvider"])
    compare(lambda images: torch.from_numpy(session.run(None, {"image": images.numpy()})[0]), generator)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["input"])["range"] == [-1, 1]
    assert about["architecture"] == "ResNetGenerator"
    with pytest.raises(UserError, match=r"monet.onnx is a graph for other programs"):
        load_generator(made.path)


def test_without_onnxruntime_onnx_is_not_checked(tmp_path, checkpoint, monkeypatch):
    pytest.importorskip("onnxscript")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    made = export(checkpoint, tmp_path / "monet.onnx", "onnx")
    assert made.greatest_difference is None
    assert made.bytes == made.path.stat().st_size


def test_without_onnxscript_it_says_what_to_install(tmp_path, checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"pip install 'art2real\[export\]'"):
        export(checkpoint, tmp_path / "monet.onnx", "onnx")
    assert left_over(tmp_path) == []


def test_another_generator_does_not_pass_the_check(tmp_path, checkpoint, generator, monkeypatch):
    other = ResNetGenerator(4, 1).eval()
    assert greatest_difference(generator, generator) == 0
    with pytest.raises(UserError, match="differs from the generator by"):
        greatest_difference(generator, lambda images: generator(images) + 2e-3)
    with pytest.raises(UserError, match="differs from the generator by nan"):
        greatest_difference(generator, lambda images: generator(images) * np.nan)
    monkeypatch.setattr(module, "read_exported", lambda path: other)
    with pytest.raises(UserError, match="it was removed"):
        export(checkpoint, tmp_path / "out", "safetensors")
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "export_format", "error", "words"),
    [
        ("monet.onnx", "torch-export", UsageError, "ends in .pt2"),
        ("monet", "onnx", UsageError, "ends in .onnx"),
        ("weights", "safetensors", UsageError, "exists; remove it"),
        ("file/monet", "safetensors", UserError, "cannot be written"),
        ("file/monet.pt2", "torch-export", UserError, "cannot be written"),
    ],
)
def test_where_it_cannot_be_written_nothing_is_lost(tmp_path, checkpoint, name, export_format, error, words):
    (tmp_path / "file").touch()
    with pytest.raises(error, match=words):
        export(checkpoint, tmp_path / name, export_format)
    assert left_over(tmp_path) == ["file"]
    load_generator(checkpoint)
