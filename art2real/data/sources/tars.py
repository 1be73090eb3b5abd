"""A WebDataset shard as a source of photos."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from art2real.data.sources.entry import Entry
from art2real.data.sources.names import named_like_image
from art2real.data.sources.places import is_local, parse_address
from art2real.data.sources.remote import READ_ERRORS, opened, reason
from art2real.data.sources.tar_members import DamagedTar, members
from art2real.errors import UserError

SHARD_SUFFIX = ".tar"


class Shard:
    """The images of one .tar file: its regular files that have the name of an image, in their order."""

    def __init__(self, file: str, origin: str, *, within: bool = False, anonymous: bool = False) -> None:
        """
        Args:
            file: absolute local path, or URI.
            origin: what to call the shard.
            within: whether it is part of a larger source: its members' names then begin with `origin`.
            anonymous: whether an object store is asked without credentials.
        """
        self.origin = origin
        self.not_images = 0
        self.unreadable: list[tuple[str, str]] = []
        self._file = file
        self._name = origin if within else posixpath.basename(origin)
        self._prefix = origin + "/" if within else ""
        self._anonymous = anonymous

    def entries(self) -> Iterator[Entry]:
        self.not_images = 0
        self.unreadable = []
        try:
            with opened(self._file, self._anonymous) as (file, size):
                for member in members(file, size):
                    if named_like_image(member.name):
                        yield Entry(self._prefix + member.name, self._file, member.bytes, member.offset)
                    else:
                        self.not_images += 1
        except DamagedTar as damage:
            self.unreadable.append((self._name, str(damage)))
        except READ_ERRORS as error:
            if not is_local(self._file):
                raise UserError(f"{parse_address(self._file).origin}: {reason(error)}") from None
            self.unreadable.append((self._name, reason(error)))
