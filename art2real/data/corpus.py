"""Which files of a folder are images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from art2real.data.sources.entry import Entry
from art2real.data.sources.folders import LocalRoot
from art2real.data.sources.tree import Tree
from art2real.errors import UserError


@dataclass(frozen=True)
class Corpus:
    """The files of a folder."""

    root: Path
    files: tuple[tuple[str, int], ...]
    """Relative POSIX path and size in bytes of every file that looks like an image, sorted by path."""
    not_images: int
    """Other files."""
    unreadable: tuple[str, ...] = ()
    """Relative paths of folders that could not be listed."""

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.files]


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
    entries, _ = _listed(folder, leave_out)
    return [entry.source for entry in entries]


def list_corpus(folder: Path, leave_out: Path | None = None) -> Corpus:
    """Lists a folder tree as `list_images` does, with sizes and what else is there.

    Raises:
        UserError: the folder is missing, is no folder, is empty or has no image.
    """
    entries, tree = _listed(folder, leave_out)
    files = tuple((entry.source, entry.bytes) for entry in entries)
    return Corpus(folder, files, tree.not_images, tuple(sorted(path for path, _ in tree.unreadable)))


def printable(path: str) -> str:
    """A path for tables and messages: bytes in a file's name that are not UTF-8 appear as `\\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _listed(folder: Path, leave_out: Path | None) -> tuple[list[Entry], Tree]:
    if not folder.exists():
        raise UserError(f"{folder}: there is no such folder; give the folder that holds the images")
    if not folder.is_dir():
        raise UserError(f"{folder}: not a folder; give the folder that holds the images")
    tree = Tree(LocalRoot(str(folder), leave_out), open_shards=False)
    entries = list(tree.entries())
    if not entries:
        others = tree.not_images
        what = f"none of its {others} files looks like an image" if others else "the folder is empty"
        if tree.unreadable:
            what += f", and {len(tree.unreadable)} folders cannot be read"
        raise UserError(f"{folder}: {what}; give a folder with images")
    return entries, tree
