"""What is said of a training run and of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from art2real.cli.common import human_bytes
from art2real.cli.described.files import OnProgress, damaged_files
from art2real.cli.described.table import labelled
from art2real.errors import UserError


def describe_checkpoint(path: Path) -> dict[str, Any]:
    """What `inspect` says of a checkpoint."""
    from art2real.translation.checkpoint import network_sizes, read_record

    record = read_record(path)
    config = record.get("config") or {}
    files = [path / name for name in record["files"]]
    return {
        "kind": "checkpoint",
        "path": str(path),
        "format_version": record["format_version"],
        "art2real": record.get("art2real"),
        "name": config.get("name"),
        "step": record.get("step"),
        "networks": network_sizes(path, record).model_dump(),
        "files": sorted(record["files"]),
        "bytes": sum(file.stat().st_size for file in files if file.is_file()),
    }


def checkpoint_as_text(data: dict[str, Any]) -> str:
    """`describe_checkpoint` for people."""
    return "\n".join(
        [
            f"checkpoint {data['path']} (format {data['format_version']})",
            labelled("run", str(data["name"])),
            labelled("step", str(data["step"])),
            labelled("networks", _networks(data)),
            labelled("files", f"{', '.join(data['files'])}: {human_bytes(data['bytes'])}"),
        ]
    )


def verify_checkpoint(path: Path, on_progress: OnProgress) -> list[str]:
    """The files of a checkpoint that are missing or damaged."""
    from art2real.data.checksums import file_sha256
    from art2real.translation.checkpoint import read_record

    return damaged_files(path, dict(read_record(path)["files"]), file_sha256, on_progress)


def describe_run(path: Path) -> dict[str, Any]:
    """What `inspect` says of a run."""
    from art2real.training.run_folder import RunFolder

    run = RunFolder(path)
    config, stats = run.config, run.stats()
    return {
        "kind": "run",
        "path": str(path),
        "name": config.name,
        "started": run.facts.get("started"),
        "step": stats[-1]["step"] if stats else 0,
        "finished": run.finished is not None,
        "networks": config.networks.model_dump(),
        "bank": config.contextual.bank,
        "best": run.best,
        "checkpoints": [{"step": step, "path": str(folder)} for step, folder in run.checkpoints()],
    }


def run_as_text(data: dict[str, Any]) -> str:
    """`describe_run` for people."""
    return "\n".join(
        [
            f"run {data['path']} ({data['name']}), started {data['started']}",
            labelled("step", f"{data['step']}, {'finished' if data['finished'] else 'not finished'}"),
            labelled("networks", _networks(data)),
            labelled("bank", data["bank"] or "none: plain CycleGAN"),
            labelled("best", _best(data["best"])),
            labelled("checkpoint", [each["path"] for each in data["checkpoints"]] or "none"),
        ]
    )


def verify_run(path: Path, on_progress: OnProgress) -> list[str]:
    """The files of a run's checkpoints that are missing or damaged, by their path in the run."""
    from art2real.data.checksums import file_sha256
    from art2real.training.run_folder import RunFolder
    from art2real.translation.checkpoint import read_record

    checksums = {
        (folder.relative_to(path) / name).as_posix(): checksum
        for _, folder in RunFolder(path).checkpoints()
        for name, checksum in read_record(folder)["files"].items()
    }
    return damaged_files(path, checksums, file_sha256, on_progress)


def draw_run(path: Path, out: Path) -> None:
    """Writes the curves of a run to a PNG."""
    from art2real.data.pictures import save_picture
    from art2real.training.curves import draw_curves
    from art2real.training.run_folder import RunFolder

    stats = RunFolder(path).stats()
    if not stats:
        raise UserError(f"run {path} has logged nothing yet; it has no curves to draw")
    save_picture(draw_curves(stats), out)


def _best(best: dict[str, Any] | None) -> str:
    if best is None:
        return "none yet"
    return f"step {best['step']}, {best['by']} {best['value']:.4g}"


def _networks(data: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in data["networks"].items())
