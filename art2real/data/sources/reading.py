"""The bytes of an image, wherever it lies."""

from __future__ import annotations

from art2real.data.images import BadImage, ImageLimits
from art2real.data.sources.entry import Entry
from art2real.data.sources.remote import READ_ERRORS, opened, reason
from art2real.errors import UsageError


def read_entry(entry: Entry, limits: ImageLimits, anonymous: bool = False) -> bytes:
    """The bytes of an entry; one that is over the limit is not read.

    Raises:
        BadImage: `unreadable`, `empty` or `too_many_bytes`.
    """
    if entry.bytes >= 0:
        _check(entry.bytes, limits)
    return _read(entry.file, entry.offset, entry.bytes, limits, anonymous)


def read_file(file: str, limits: ImageLimits, anonymous: bool = False) -> bytes:
    """The bytes of a whole file.

    Args:
        file: absolute local path, or URI.
        limits: what it may ask for.
        anonymous: whether an object store is asked without credentials.

    Raises:
        BadImage: `unreadable`, `empty` or `too_many_bytes`.
    """
    return _read(file, None, -1, limits, anonymous)


def _read(file: str, offset: int | None, count: int, limits: ImageLimits, anonymous: bool) -> bytes:
    try:
        with opened(file, anonymous) as (content, size):
            if offset is None:
                count = size
            _check(count, limits)
            content.seek(offset or 0)
            taken = content.read(count)
    except (*READ_ERRORS, UsageError) as error:
        raise BadImage("unreadable", reason(error)) from None
    if len(taken) < count:
        raise BadImage("unreadable", "the file has become shorter since it was listed")
    return taken


def _check(size: int, limits: ImageLimits) -> None:
    if size == 0:
        raise BadImage("empty", "the file has no bytes")
    if size > limits.max_bytes:
        raise BadImage("too_many_bytes", f"{size} bytes, more than {limits.max_bytes}")
