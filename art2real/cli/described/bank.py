"""What is said of a memory bank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from art2real.cli.common import counted, human_bytes
from art2real.cli.described.files import OnProgress, damaged_files
from art2real.cli.described.index import index_lines
from art2real.cli.described.table import columns, labelled


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
        "versions": manifest.versions,
        "identity": manifest.identity,
        "inputs": [
            {"origin": each.origin, "files": each.files, "not_images": each.not_images}
            for each in manifest.inputs
        ],
        "image_size": manifest.image_size,
        "fit": manifest.settings.fit,
        "photos": manifest.photos,
        "squares": manifest.squares,
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
    from art2real.data.bank_run import in_words
    from art2real.data.manifest import SKIPPED

    stored = f"{data['photos']:,}"
    if data["fit"] == "tile":
        stored += f" in {counted(data['squares'], 'tile')}"
    skipped = f"{data['skipped']:,}"
    if data["skipped"]:
        skipped += f" ({in_words(data['skipped_by_cause'])}): {data['path']}/{SKIPPED}"
    inputs = [[each["origin"], counted(each["files"], "image file")] for each in data["inputs"]]
    patches = [[f"{scale['size']}:{scale['stride']}", f"{scale['patches']:,}"] for scale in data["scales"]]
    side = data["image_size"]
    return "\n".join(
        [
            f"memory bank {data['path']} (format {data['format_version']}, art2real {data['art2real']})",
            labelled("photos", f"{stored} of {side}x{side} pixels, {counted(data['shards'], 'shard')}"),
            labelled("bytes", f"{human_bytes(data['bytes'])} without the index"),
            labelled("from", columns(inputs, "<>")),
            labelled("skipped", skipped),
            labelled("no images", counted(data["not_images"], "other file")),
            labelled("patches", columns(patches, "<>")),
            labelled("index", index_lines(data["index"]) or "none; build-index makes it"),
            labelled("versions", ", ".join(f"{name} {number}" for name, number in data["versions"].items())),
        ]
    )


def verify_bank(path: Path, on_progress: OnProgress) -> list[str]:
    """The missing or damaged files of a bank and of its finished indexes, by their path in the bank."""
    from art2real.data.bank_verify import verify
    from art2real.data.checksums import file_xxh3
    from art2real.data.manifest import read_manifest
    from art2real.index.manifest import read_manifest as read_index

    manifest = read_manifest(path)
    indexes = [read_index(path, info.scale) for info in manifest.scales]
    index_files = {entry.path: entry.checksum for index in indexes if index for entry in index.files}
    own = len(manifest.files)
    total = own + len(index_files)
    damaged = verify(path, lambda done, _: on_progress(done, total))
    return damaged + damaged_files(
        path, index_files, file_xxh3, lambda done, _: on_progress(own + done, total)
    )


def draw_bank(path: Path, out: Path) -> None:
    """Writes a sheet of photos and patches of a bank to a PNG."""
    from art2real.data.bank import MemoryBank
    from art2real.data.contact_sheet import draw_sheet
    from art2real.data.pictures import save_picture

    save_picture(draw_sheet(MemoryBank.open(path)), out)
