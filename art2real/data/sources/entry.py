"""What a source of photos yields, and what it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """One image file of a corpus."""

    source: str
    """How the bank names it: POSIX path relative to the source's root; in lists and tables what they say."""
    file: str
    """Absolute local path, or URI without credentials, of the file that holds its bytes."""
    bytes: int
    """Its size; -1: not known."""
    offset: int | None = None
    """Where it starts inside `file`, for members of .tar shards; None: it is the whole file."""
    licence: str | None = None
    attribution: str | None = None
    mask: str | None = None
    """Absolute local path or URI of its class mask."""


class Source(Protocol):
    """A corpus that can be read any number of times, each time in the same order."""

    origin: str
    """Absolute local path or URI, without credentials and options."""
    not_images: int
    """Files that are no images, counted while `entries` is read."""
    unreadable: list[tuple[str, str]]
    """Folders, shards and rows that could not be read, and why; filled while `entries` is read."""

    def entries(self) -> Iterator[Entry]:
        """Streams the image files; begins to count anew.

        Raises:
            UserError: the source cannot be read (further).
        """
        ...
