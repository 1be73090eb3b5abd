"""A list of paths as a source of photos."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from art2real.data.sources.entry import Entry
from art2real.data.sources.places import local_bytes, locate
from art2real.data.sources.remote import opened, plainly
from art2real.errors import UsageError, UserError

LIST_SUFFIXES = (".txt", ".lst", ".list")

_LONGEST_LINE = 2**16  # bytes; what is longer is no list of paths, and is held in memory


class ListFile:
    """One path or URI a line, in the list's order; paths are relative to the list's folder."""

    def __init__(self, file: str, origin: str, folder: str, *, anonymous: bool = False) -> None:
        """
        Args:
            file: absolute local path, or URI, of the list.
            origin: the same without options.
            folder: absolute local path, or URI, that its lines are relative to.
            anonymous: whether an object store is asked without credentials.
        """
        self.origin = origin
        self.not_images = 0
        self.unreadable: list[tuple[str, str]] = []
        self._file = file
        self._folder = folder
        self._anonymous = anonymous

    def entries(self) -> Iterator[Entry]:
        self.unreadable = []
        for number, line in enumerate(self._lines(), start=1):
            if not line.strip():
                continue
            try:
                file = locate(line, self._folder)
            except UsageError as error:
                self.unreadable.append((f"{posixpath.basename(self.origin)} line {number}", str(error)))
                continue
            yield Entry(line, file, local_bytes(file))

    def _lines(self) -> Iterator[str]:
        with plainly(self.origin), opened(self._file, self._anonymous) as (file, _):
            number = 0
            while line := file.readline(_LONGEST_LINE + 1):
                number += 1
                if len(line) > _LONGEST_LINE:
                    raise UserError(
                        f"{self.origin}: line {number} is longer than {_LONGEST_LINE:,} bytes; "
                        "give a text file with one path a line"
                    )
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                yield line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
