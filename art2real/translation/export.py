"""A generator for other programs, checked when it is written: safetensors, torch.export, ONNX."""

from __future__ import annotations

import json
import secrets
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from art2real.core.networks import ResNetGenerator
from art2real.data.checksums import file_sha256
from art2real.errors import UsageError, UserError
from art2real.translation.exported import WEIGHTS, description, read_exported, write_exported
from art2real.translation.weights import load_generator

SUFFIXES = {"safetensors": "", "torch-export": ".pt2", "onnx": ".onnx"}
"""The formats, and how the names of their files end; safetensors is a folder."""

CHECKED = ((2, 64, 64), (1, 40, 132), (1, 132, 40), (1, 256, 256))
"""Batch, height and width of the images that an exported graph is tried with. Not smaller ones: a variance
over few values magnifies what rounding does."""

TOLERANCE = 1e-3
"""Greatest difference to the generator, in values of [-1, 1], that a check lets pass."""

_OPSET = 20

_Graph = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Exported:
    """What `export` wrote."""

    path: Path
    bytes: int
    sha256: str
    """Of the file; for a folder that of its weights."""
    greatest_difference: float | None
    """Between the generator and what was written, over all images of `CHECKED`; None: it could not be run,
    because onnxruntime is not installed."""


def export(checkpoint: Path, out: Path, export_format: str) -> Exported:
    """Writes the generator of a checkpoint for other programs; the file or folder is complete or absent.

    Args:
        checkpoint: as `load_generator` takes it.
        out: the file, or for safetensors the folder, which is not there yet.
        export_format: a key of `SUFFIXES`.

    Raises:
        UsageError: `out` is there, or its name does not end as the format's do.
        UserError: no checkpoint, a package is missing, no room, or the check failed.
    """
    suffix = SUFFIXES[export_format]
    if suffix and out.suffix != suffix:
        raise UsageError(f"--out {out}: the file of --format {export_format} ends in {suffix}")
    if out.exists():
        raise UsageError(f"--out {out} exists; remove it, or give another name")
    generator = load_generator(checkpoint)
    temporary = out.with_name(f".{secrets.token_hex(4)}.{out.name}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        graph = _WRITERS[export_format](generator, temporary)
        difference = None if graph is None else greatest_difference(generator, graph)
        temporary.rename(out)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}") from None
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with suppress(OSError):  # it is not there, or not even its folder
                temporary.unlink()
    file = out / WEIGHTS if out.is_dir() else out
    return Exported(out, file.stat().st_size, file_sha256(file), difference)


def greatest_difference(generator: ResNetGenerator, graph: _Graph) -> float:
    """Greatest difference of two generators over images of the sizes in `CHECKED`.

    Raises:
        UserError: it is above `TOLERANCE`.
    """
    random = torch.Generator().manual_seed(0)
    greatest = 0.0
    with torch.inference_mode():
        for batch, height, width in CHECKED:
            images = torch.rand(batch, 3, height, width, generator=random) * 2 - 1
            got, wanted = graph(images), generator(images)
            difference = float((got - wanted).abs().max()) if got.shape == wanted.shape else float("inf")
            if not difference <= TOLERANCE:
                raise UserError(
                    f"what was written differs from the generator by {difference:.2g} on images of "
                    f"{width}x{height}, more than {TOLERANCE}; it was removed. Try another version of torch"
                )
            greatest = max(greatest, difference)
    return greatest


def _program(generator: ResNetGenerator) -> torch.export.ExportedProgram:
    batch, height, width = (
        torch.export.Dim(name, min=least) for name, least in (("batch", 1), ("h", 2), ("w", 2))
    )
    example = torch.zeros(2, 3, 24, 32)
    shapes = ({0: batch, 2: 4 * height, 3: 4 * width},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(generator, (example,), dynamic_shapes=shapes, strict=True)


def _write_safetensors(generator: ResNetGenerator, path: Path) -> _Graph:
    write_exported(generator, path)
    return read_exported(path).eval()


def _write_torch_export(generator: ResNetGenerator, path: Path) -> _Graph:
    about = {"config.json": json.dumps(description(generator), indent=2)}
    program = _program(generator)
    try:
        torch.export.save(program, path, extra_files=about)
    except RuntimeError as error:  # what it makes of a full disk
        raise OSError(str(error)) from None
    graph: _Graph = torch.export.load(path).module()
    return graph


def _write_onnx(generator: ResNetGenerator, path: Path) -> _Graph | None:
    try:
        import onnxscript  # noqa: F401 - torch asks for it late, and with a traceback
    except ImportError:
        raise UserError("--format onnx needs onnx and onnxscript: pip install 'art2real[export]'") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.onnx.export(
            _program(generator),
            dynamo=True,
            input_names=["image"],
            output_names=["translated"],
            opset_version=_OPSET,
            verbose=False,
        )
    assert made is not None
    about = description(generator)
    made.model.metadata_props.update(
        {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}
    )
    made.save(path, external_data=False)
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(np.asarray(session.run(None, {"image": images.numpy()})[0]))


_WRITERS: dict[str, Callable[[ResNetGenerator, Path], _Graph | None]] = {
    "safetensors": _write_safetensors,
    "torch-export": _write_torch_export,
    "onnx": _write_onnx,
}
