"""`art2real-cli inspect`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from art2real.cli.common import counted, emit, json_option, progress
from art2real.errors import UserError


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="Compare every file with its checksum.")
@json_option
def command(path: Path, verify: bool, as_json: bool) -> int:
    """Describe the memory bank, index, run or checkpoint in the folder PATH.

    With --verify the exit code is 1 if a file is missing or damaged.
    """
    describe, as_text, check = _kind_of(path)
    data = describe(path)
    text = as_text(data)
    if verify:
        with progress(None, "files verified") as bar:
            data["damaged"] = check(path, bar.update)
        text += "\n" + _verdict(data)
    emit(data, as_json, text)
    return 1 if data.get("damaged") else 0


Description = tuple[
    Callable[[Path], dict[str, Any]],
    Callable[[dict[str, Any]], str],
    Callable[[Path, Callable[[int, int], None]], list[str]],
]


def _kind_of(path: Path) -> Description:
    if not path.exists():
        raise UserError(f"{path}: there is no such folder")
    if (path / "trained.json").is_file():
        return _describe_index, _index_as_text, _verify_index
    if (path / "checkpoint.json").is_file():
        return _describe_checkpoint, _checkpoint_as_text, _verify_checkpoint
    if (path / "run.json").is_file():
        return _describe_run, _run_as_text, _verify_run
    if (path / "manifest.json").is_file() or (path / "building.json").is_file():
        return describe_bank, bank_as_text, _verify_bank
    raise UserError(f"{path}: neither a memory bank, an index, a run nor a checkpoint")


def _verdict(data: dict[str, Any]) -> str:
    if not data["damaged"]:
        return "verified: every file is as it was written"
    lines = ["missing or damaged:", *(f"  {name}" for name in data["damaged"])]
    if data["kind"] == "bank":
        lines.append("delete them; build-banks with --resume, and build-index for the index, write them anew")
    return "\n".join(lines)


# Memory banks


def describe_bank(path: Path) -> dict[str, Any]:
    """What `inspect` and `build-banks` say of a bank."""
    from art2real.data.manifest import MANIFEST, read_manifest
    from art2real.index.manifest import describe

    manifest = read_manifest(path)
    return {
        "kind": "bank",
        "path": str(path),
        "format_version": manifest.format_version,
        "art2real": manifest.art2real,
        "identity": manifest.identity,
        "image_size": manifest.image_size,
        "photos": manifest.photos,
        "skipped": manifest.skipped,
        "skipped_by_cause": manifest.skipped_by_cause,
        "not_images": manifest.not_images,
        "shards": len(manifest.shards),
        "bytes": (path / MANIFEST).stat().st_size + sum(entry.bytes for entry in manifest.files),
        "scales": [
            {"size": info.size, "stride": info.stride, "patches": info.patches} for info in manifest.scales
        ],
        "index": describe(path),
    }


def bank_as_text(data: dict[str, Any]) -> str:
    """`describe_bank` for people."""
    from art2real.data.bank_build import in_words
    from art2real.data.manifest import SKIPPED

    size = data["image_size"]
    lines = [
        f"memory bank {data['path']} (format {data['format_version']})",
        f"photos      {data['photos']:,} of {size}x{size} pixels, {counted(data['shards'], 'shard')}, "
        f"{human_bytes(data['bytes'])} without the index",
        f"skipped     {data['skipped']:,}"
        + (f" ({in_words(data['skipped_by_cause'])}): {data['path']}/{SKIPPED}" if data["skipped"] else ""),
        f"no images   {data['not_images']:,} other files",
    ]
    lines += [
        f"patches     {scale['size']}:{scale['stride']}  {scale['patches']:,}" for scale in data["scales"]
    ]
    lines += [_index_line(index) for index in data["index"]] or ["index       none; build-index makes it"]
    return "\n".join(lines)


def _verify_bank(path: Path, on_progress: Callable[[int, int], None]) -> list[str]:
    from art2real.data.bank_build import verify
    from art2real.data.manifest import read_manifest
    from art2real.index.manifest import index_folder

    damaged = verify(path, on_progress)
    for info in read_manifest(path).scales:
        folder = index_folder(path, info.scale)
        if folder.is_dir():
            damaged += _verify_index(folder, on_progress)
    return damaged


# Indexes


def _describe_index(path: Path) -> dict[str, Any]:
    return {"kind": "index", "path": str(path), **_index_manifest(path).summary()}


def _index_manifest(folder: Path) -> Any:
    from art2real.index.manifest import MANIFEST, IndexManifest, read_record

    manifest = read_record(folder / MANIFEST, IndexManifest)
    if manifest is None:
        raise UserError(f"{folder}: not finished; run build-index on its bank")
    return manifest


def _index_as_text(data: dict[str, Any]) -> str:
    return f"index of {data['path']}\n{_index_line(data)}"


def _index_line(index: dict[str, Any]) -> str:
    return (
        f"index       {index['size']}:{index['stride']}  {index['factory']}, {index['rows']:,} rows, "
        f"{counted(index['shards'], 'shard')}, "
        f"recall@1 {index['recall_at_1']:.3f}, recall@5 {index['recall_at_5']:.3f}"
    )


def _verify_index(folder: Path, on_progress: Callable[[int, int], None]) -> list[str]:
    files = {entry.path: entry.checksum for entry in _index_manifest(folder).files}
    from art2real.data.checksums import file_xxh3

    return _verify_files(folder.resolve().parents[1], files, file_xxh3, on_progress)


def _verify_files(
    folder: Path,
    checksums: dict[str, str],
    compute: Callable[[Path], str],
    on_progress: Callable[[int, int], None],
) -> list[str]:
    damaged = []
    for number, (name, checksum) in enumerate(checksums.items()):
        path = folder / name
        if not path.is_file() or compute(path) != checksum:
            damaged.append(name)
        on_progress(number + 1, len(checksums))
    return damaged


# Checkpoints and runs


def _describe_checkpoint(path: Path) -> dict[str, Any]:
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


def _checkpoint_as_text(data: dict[str, Any]) -> str:
    networks = ", ".join(f"{name} {value}" for name, value in data["networks"].items())
    return "\n".join(
        [
            f"checkpoint {data['path']} (format {data['format_version']})",
            f"run         {data['name']}",
            f"step        {data['step']}",
            f"networks    {networks}",
            f"files       {', '.join(data['files'])}: {human_bytes(data['bytes'])}",
        ]
    )


def _verify_checkpoint(path: Path, on_progress: Callable[[int, int], None]) -> list[str]:
    from art2real.data.checksums import file_sha256
    from art2real.translation.checkpoint import read_record

    return _verify_files(path, dict(read_record(path)["files"]), file_sha256, on_progress)


def _describe_run(path: Path) -> dict[str, Any]:
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
        "checkpoints": [{"step": step, "path": str(folder)} for step, folder in run.checkpoints()],
    }


def _run_as_text(data: dict[str, Any]) -> str:
    networks = ", ".join(f"{name} {value}" for name, value in data["networks"].items())
    state = "finished" if data["finished"] else "not finished"
    checkpoints = [f"checkpoint  {each['path']}" for each in data["checkpoints"]]
    return "\n".join(
        [
            f"run {data['path']} ({data['name']}), started {data['started']}",
            f"step        {data['step']}, {state}",
            f"networks    {networks}",
            f"bank        {data['bank'] or 'none: plain CycleGAN'}",
            *(checkpoints or ["checkpoint  none"]),
        ]
    )


def _verify_run(path: Path, on_progress: Callable[[int, int], None]) -> list[str]:
    from art2real.training.run_folder import RunFolder

    damaged = []
    for _, folder in RunFolder(path).checkpoints():
        names = _verify_checkpoint(folder, on_progress)
        damaged += [(folder.relative_to(path) / name).as_posix() for name in names]
    return damaged


def human_bytes(count: float) -> str:
    """Bytes in the largest decimal unit that keeps the number above one."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
