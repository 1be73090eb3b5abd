"""Where the files behind a bank's photos lie: its inputs' origins, put together with the photos' names."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path
from urllib.parse import quote

import numpy as np

from art2real.data.bank import MemoryBank
from art2real.data.manifest import Input
from art2real.data.sources.lists import LIST_SUFFIXES
from art2real.data.sources.names import suffix
from art2real.data.sources.patterns import has_magic, split_pattern
from art2real.data.sources.places import is_local, locate
from art2real.data.sources.tables import TABLE_SUFFIXES
from art2real.errors import UsageError


def place_of(bank: MemoryBank, photo: int) -> str | None:
    """Absolute local path, or URI, of the file behind `bank.photos[photo]`, as the build found it.

    A member of a .tar shard lies behind the shard's own path, as if that were a folder. None: the bank does
    not know.
    """
    ends = np.cumsum([shard.photos for shard in bank.shards])
    shard = bank.shards[int(np.searchsorted(ends, photo, side="right"))]
    # part-00012 or part-00012-003: the task that wrote it.
    task = int(shard.name.split("-")[1])
    for each in bank.manifest.inputs:
        if each.first_task <= task < each.first_task + each.tasks:
            return _place(each, bank.photos[photo].source)
    return None


def _place(source: Input, name: str) -> str | None:
    origin = source.origin
    if suffix(origin) in (*LIST_SUFFIXES, *TABLE_SUFFIXES):
        try:
            return locate(name, posixpath.dirname(origin))
        except UsageError:  # no address that could be read, so no photo came from there
            return None
    if not is_local(origin):
        folder = split_pattern(origin)[0] if has_magic(origin, "*[") else origin.rstrip("/")
        return f"{folder}/{quote(name)}"
    # The name of a folder may look like a pattern.
    folder = split_pattern(origin)[0] if has_magic(origin) and not Path(origin).is_dir() else origin
    return os.path.join(folder, name)  # noqa: PTH118 - keeps names as they were written
