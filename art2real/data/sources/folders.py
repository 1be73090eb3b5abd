"""Listing one folder, local or of an object store."""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_left
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import pyarrow.fs as fs

from art2real.data.sources.names import HEAD_BYTES, begins_like_image, suffix
from art2real.data.sources.places import Address
from art2real.data.sources.remote import (
    READ_ERRORS,
    file_system,
    of_the_file,
    opened,
    patiently,
    plainly,
    reason,
)
from art2real.errors import UserError


@dataclass(frozen=True, slots=True)
class Item:
    """What a folder holds."""

    name: str
    kind: Literal["folder", "file", "other", "unreadable"]
    """`other` is a pipe or a device."""
    bytes: int = -1
    why: str = ""
    """Why it is unreadable."""


_NAMELESS = Item("", "unreadable", why="a name below it is empty (//)")


class Root(Protocol):
    """A folder tree; its folders are named by paths relative to it, "" or with a slash at the end."""

    origin: str
    """Absolute local path, or URI without options."""

    def key(self, folder: str) -> Hashable | None:
        """What is equal for two paths of the same folder; None: the folder does not belong to the tree."""

    def items(self, folder: str) -> list[Item]:
        """What a folder holds, in any order.

        Raises:
            OSError: a local folder cannot be listed.
            UserError: a remote one cannot.
        """

    def file(self, path: str) -> str:
        """Absolute local path, or URI, of a file in it."""

    def begins_like_image(self, path: str, *, named: bool) -> bool:
        """Whether a file without the name of an image is one; `named`: the user's pattern names it."""


class LocalRoot:
    """A local folder tree; links are followed."""

    def __init__(self, folder: str, leave_out: Path | None = None) -> None:
        self.origin = os.path.abspath(folder)  # noqa: PTH100 - keeps links as the user wrote them
        self._leave_out = leave_out

    def key(self, folder: str) -> Hashable | None:
        key = _identity(self.file(folder))
        # Asked each time: the bank may come into being while the folder is listed.
        left_out = (
            self._leave_out is not None and self._leave_out.is_dir() and _identity(self._leave_out) == key
        )
        return None if left_out else key

    def items(self, folder: str) -> list[Item]:
        items = []
        with os.scandir(self.file(folder)) as entries:
            for entry in entries:
                try:
                    status = entry.stat()
                except OSError as error:
                    # ENOENT: a dangling link, or gone since the folder was listed; ELOOP: a link to itself.
                    if error.errno not in (errno.ENOENT, errno.ELOOP):
                        items.append(Item(entry.name, "unreadable", why=reason(error)))
                    continue
                if stat.S_ISDIR(status.st_mode):
                    items.append(Item(entry.name, "folder"))
                elif stat.S_ISREG(status.st_mode):
                    items.append(Item(entry.name, "file", status.st_size))
                else:
                    items.append(Item(entry.name, "other"))
        return items

    def file(self, path: str) -> str:
        return os.path.join(self.origin, path)  # noqa: PTH118

    def begins_like_image(self, path: str, *, named: bool) -> bool:
        try:
            with opened(self.file(path), anonymous=False) as (file, _):
                return begins_like_image(file.read(HEAD_BYTES))
        except OSError:
            return False


class RemoteRoot:
    """A bucket of an object store, or all keys below a prefix."""

    def __init__(self, address: Address, anonymous: bool) -> None:
        self.origin = address.origin
        self._address = address
        self._anonymous = anonymous

    def key(self, folder: str) -> Hashable | None:
        return folder

    def items(self, folder: str) -> list[Item]:
        items = []
        for name, is_folder, size in self._found(folder, recursive=False):
            if not name:  # Arrow drops empty names: it would list `a//` as `a` again, without end
                items.append(_NAMELESS)
            else:
                items.append(Item(name, "folder") if is_folder else Item(name, "file", size))
        return items

    def file(self, path: str) -> str:
        return self._address.child(path).uri

    def begins_like_image(self, path: str, *, named: bool) -> bool:
        # A request for each: worth it only where the name says nothing, or the user asked for the file.
        if suffix(path) and not named:
            return False

        def look() -> bool:
            with opened(self.file(path), self._anonymous, HEAD_BYTES) as (file, _):
                return begins_like_image(file.read(HEAD_BYTES))

        try:
            return patiently(look)
        except READ_ERRORS as error:
            if of_the_file(error):
                return False
            # A photo that was taken for something else because the store failed would be missed for ever.
            raise UserError(f"{self._address.child(path).origin}: {reason(error)}") from None

    def _found(self, folder: str, *, recursive: bool) -> Iterator[tuple[str, bool, int]]:
        """Relative path, whether it is a folder, and size of what lies below a folder."""
        base = self._address.child(folder).path.rstrip("/")
        with plainly(self._address.child(folder).origin.rstrip("/")):
            found = file_system(self._address, self._anonymous).get_file_info(
                fs.FileSelector(base, recursive=recursive)
            )
        for info in found:
            path = info.path.removeprefix(base).removeprefix("/")
            yield path.removesuffix("/"), info.type == fs.FileType.Directory, info.size


class GoogleRoot(RemoteRoot):
    """The same in Google's store, where Arrow finds folders only if they were made as objects of their own.

    So all keys are listed at once, and held: about 200 bytes each.
    """

    def __init__(self, address: Address, anonymous: bool) -> None:
        super().__init__(address, anonymous)
        self._files: list[tuple[str, int]] = []

    def items(self, folder: str) -> list[Item]:
        if not folder:
            found = self._found("", recursive=True)
            self._files = sorted((path, size) for path, is_folder, size in found if not is_folder)
        items = []
        at = bisect_left(self._files, (folder,))
        while at < len(self._files) and self._files[at][0].startswith(folder):
            path, size = self._files[at]
            name, slash, _ = path[len(folder) :].partition("/")
            if not slash:
                items.append(Item(name, "file", size))
                at += 1
            else:
                items.append(Item(name, "folder") if name else _NAMELESS)
                # Behind all that is in it: the sign after a slash is a zero.
                at = bisect_left(self._files, (folder + name + "0",))
        return items


def remote_root(address: Address, anonymous: bool) -> RemoteRoot:
    return GoogleRoot(address, anonymous) if address.scheme == "gs" else RemoteRoot(address, anonymous)


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)  # noqa: PTH116
    return status.st_dev, status.st_ino
