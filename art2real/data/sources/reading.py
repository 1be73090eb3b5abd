"""The bytes of an image, wherever it lies."""

from __future__ import annotations

from art2real.data.images import BadImage, ImageLimits, check_bytes
from art2real.data.sources.entry import Entry
from art2real.data.sources.places import is_local
from art2real.data.sources.remote import READ_ERRORS, of_the_file, opened, patiently, reason
from art2real.errors import UsageError, UserError


def read_entry(entry: Entry, limits: ImageLimits, anonymous: bool = False) -> bytes:
    """The bytes of an entry; one that is over the limit is not read.

    Raises:
        BadImage: `unreadable`, `empty` or `too_many_bytes`.
        UserError: the store that holds it does not answer.
    """
    if entry.bytes >= 0:
        check_bytes(entry.bytes, limits)
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
    def read() -> bytes:
        with opened(file, anonymous) as (content, size):
            wanted = size if offset is None else count
            check_bytes(wanted, limits)
            content.seek(offset or 0)
            taken = content.read(wanted)
        if len(taken) < wanted:
            raise BadImage("unreadable", "the file has become shorter since it was listed")
        return taken

    try:
        return read() if is_local(file) else patiently(read)
    except UsageError as error:
        raise BadImage("unreadable", str(error)) from None
    except READ_ERRORS as error:
        if not is_local(file) and not of_the_file(error):
            # A photo that was left out because the network was down would be missed for ever.
            raise UserError(
                f"{file}: {reason(error)}; what is done is kept: run the command again "
                "(build-banks: with --resume)"
            ) from None
        raise BadImage("unreadable", reason(error)) from None
