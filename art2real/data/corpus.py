"""Which files of a place are images."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from art2real.data.sources import Entry, Source, open_source
from art2real.data.sources.folders import LocalRoot
from art2real.data.sources.tree import Tree
from art2real.errors import UserError

log = logging.getLogger(__name__)


def list_images(folder: Path, leave_out: Path | None = None) -> list[str]:
    """Relative POSIX paths, sorted, of all files below `folder` that look like images.

    Links to folders are followed, each folder once. A file looks like an image if it has the name of one or,
    whatever its name, begins like one.

    Args:
        folder: the root of the tree.
        leave_out: a folder inside of it that is passed over.

    Raises:
        UserError: the folder is missing, is no folder, is empty or has no image.
    """
    if not folder.exists():
        raise UserError(f"{folder}: there is no such folder; give the folder that holds the images")
    if not folder.is_dir():
        raise UserError(f"{folder}: not a folder; give the folder that holds the images")
    tree = Tree(LocalRoot(str(folder), leave_out), open_shards=False)
    names = [entry.source for entry in tree.entries()]
    if not names:
        raise _without_images(str(folder), tree)
    return names


def list_entries(place: str, *, anonymous: bool = False) -> list[Entry]:
    """All images of a folder, pattern, list, table or .tar shard, local or in an object store.

    Args:
        place: path or URI, see `art2real.data.sources.open_source`.
        anonymous: whether object stores are asked without credentials.

    Raises:
        UserError: there is no such place, it cannot be read, or it has no image.
    """
    source = open_source(place, anonymous=anonymous)
    entries = list(source.entries())
    if not entries:
        raise _without_images(place, source)
    for path, why in source.unreadable:
        log.warning("%s: %s cannot be read: %s", place, path, why)
    return entries


def _without_images(place: str, source: Source) -> UserError:
    others = source.not_images
    what = f"none of its {others} files looks like an image" if others else "it is empty"
    if source.unreadable:
        what += f", and {len(source.unreadable)} folders cannot be read"
    return UserError(f"{place}: {what}; give a folder with images")


def printable(path: str) -> str:
    """A path for tables and messages: bytes in a file's name that are not UTF-8 appear as `\\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
