"""Tar files for tests."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path


def shard_bytes(files: Mapping[str, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar archive of regular files."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=kind, encoding="utf-8") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return content.getvalue()


def write_shard(path: Path, files: Mapping[str, bytes], kind: int = tarfile.PAX_FORMAT) -> None:
    """Writes the archive that `shard_bytes` makes."""
    path.write_bytes(shard_bytes(files, kind))
