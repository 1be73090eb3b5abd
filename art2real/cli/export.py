"""`art2real-cli export`."""

from __future__ import annotations

from pathlib import Path

import click

from art2real.cli.common import emit, human_bytes, json_option


@click.command()
@click.option(
    "--checkpoint",
    metavar="CKPT",
    type=click.Path(path_type=Path),
    required=True,
    help="A run folder (its newest checkpoint is taken) or a checkpoint folder.",
)
@click.option(
    "--out",
    metavar="PATH",
    type=click.Path(path_type=Path),
    required=True,
    help="The file to write (.onnx, .pt2), or for safetensors the folder; it must not exist.",
)
@click.option(
    "--format",
    "export_format",
    type=click.Choice(["safetensors", "onnx", "torch-export"]),
    default="safetensors",
    show_default=True,
    help="safetensors: weights and config.json, which --checkpoint takes again; onnx and torch-export: a "
    "graph for images of any size.",
)
@json_option
def command(checkpoint: Path, out: Path, export_format: str, as_json: bool) -> None:
    """Write a trained generator for other programs.

    What was written is read back and compared with the generator on images of several sizes. The graphs take
    float32 [batch, 3, height, width] in [-1, 1], height and width multiples of 4 and at least 8, and give the
    same.
    """
    from art2real.translation.export import CHECKED, export

    made = export(checkpoint, out, export_format)
    data = {
        "path": str(made.path),
        "format": export_format,
        "bytes": made.bytes,
        "sha256": made.sha256,
        "greatest_difference": made.greatest_difference,
        "checked": None if made.greatest_difference is None else [list(size) for size in CHECKED],
    }
    checked = (
        "not checked, because onnxruntime is not installed: pip install 'art2real[export]'"
        if made.greatest_difference is None
        else f"greatest difference to the generator {made.greatest_difference:.1e} (values of -1 to 1)"
    )
    emit(data, as_json, f"{made.path}: {human_bytes(made.bytes)}, {checked}")
