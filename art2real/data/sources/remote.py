"""Files of object stores through Arrow's file systems, and their errors in plain words."""

from __future__ import annotations

import errno
import io
import os
import random
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import BinaryIO, TypeVar, cast

import pyarrow as pa
import pyarrow.fs as fs

from art2real.data.sources.places import Address, is_local, local_path, parse_address
from art2real.errors import UserError

READ_ERRORS = (OSError, pa.ArrowException)
"""What opening and reading a file may raise."""

_REMOTE_BUFFER = 2**20
_PAUSES = (0.5, 2.0)
"""Seconds, each give or take a half, before a store that failed is asked again. By then Arrow has asked three
times: where 5 % of all calls fail, that is not enough for one in eight thousand of them."""
_ABSENT = "there is no such file or folder"
_FORBIDDEN = "access denied; give credentials or --anonymous"
_DENIED = (
    "ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|EXPIRED_TOKEN|UNRECOGNIZED_CLIENT"
    "|HTTP status 40[13]|PERMISSION_DENIED|UNAUTHENTICATED|OAuth2 access token"
)
_REASONS = (
    (_DENIED, _FORBIDDEN),
    ("NO_SUCH_BUCKET|Bucket '.*' not found|bucket does not exist", "no such bucket; check its name"),
    ("NOT_FOUND|NO_SUCH_KEY|HTTP status 404|No such file or directory", _ABSENT),
    ("PERMANENT_REDIRECT|HTTP status 301", "the bucket is in another region; add ?region=REGION"),
)
_UNREACHED = re.compile(r"curlCode: \d+, ([^;]+)|CURL error \[\d+\]=(.+?)(?: error_info|,|\}|$)")
_CODE = re.compile(r"AWS Error (\w+)|google::cloud::Status\((\w+)")


def reason(error: Exception) -> str:
    """Why a file cannot be read, in one line that holds no secret."""
    if isinstance(error, FileNotFoundError):
        return _ABSENT
    if isinstance(error, OSError) and error.filename is not None:
        return str(error.strerror)
    text = str(error)
    for pattern, words in _REASONS:
        if re.search(pattern, text):
            return words
    if unreached := _UNREACHED.search(text):
        return f"cannot be reached: {unreached[1] or unreached[2]}; check the network and the address"
    if "NETWORK_CONNECTION" in text:
        return "cannot be reached; check the network and the address"
    if code := _CODE.search(text):
        return f"the store answers {code[1] or code[2]}"
    strerror = error.strerror if isinstance(error, OSError) else None
    return (strerror or text).splitlines()[0]


def of_the_file(error: Exception) -> bool:
    """Whether a store answered that the file is not to be had; otherwise it or the way to it fails."""
    return reason(error) in (_ABSENT, _FORBIDDEN)


Read = TypeVar("Read")


def patiently(read: Callable[[], Read]) -> Read:
    """What `read` returns; it is called again, a few times, as long as a store or the way to it fails.

    Raises:
        READ_ERRORS: of the last call, or about the file itself.
    """
    for pause in _PAUSES:
        try:
            return read()
        except READ_ERRORS as error:
            if of_the_file(error):
                raise
        time.sleep(pause * random.uniform(0.5, 1.5))  # all workers at once would be too much for it again
    return read()


@contextmanager
def plainly(where: str) -> Iterator[None]:
    """Turns errors of reading into a `UserError` about `where`."""
    try:
        yield
    except READ_ERRORS as error:
        raise UserError(f"{where}: {reason(error)}") from None


def file_system(address: Address, anonymous: bool) -> fs.FileSystem:
    """The file system that holds an address; the same object again for the same store."""
    options = dict(address.options)
    endpoint, scheme = options.get("endpoint_override"), options.get("scheme")
    if address.scheme == "gs":
        return _google(endpoint, scheme, anonymous)
    region = options.get("region") or (_region_of_environment() if endpoint else _region(address.bucket))
    return _amazon(endpoint, scheme, region, anonymous)


@lru_cache(maxsize=64)
def _amazon(endpoint: str | None, scheme: str | None, region: str, anonymous: bool) -> fs.FileSystem:
    return fs.S3FileSystem(
        endpoint_override=endpoint,
        scheme=scheme,
        region=region,
        anonymous=anonymous,
        connect_timeout=5,
        request_timeout=10,
    )


@lru_cache(maxsize=64)
def _google(endpoint: str | None, scheme: str | None, anonymous: bool) -> fs.FileSystem:
    return fs.GcsFileSystem(
        endpoint_override=endpoint,
        scheme=scheme,
        anonymous=anonymous,
        retry_time_limit=timedelta(seconds=15),
    )


@lru_cache(maxsize=1024)
def _region(bucket: str) -> str:
    return str(fs.resolve_s3_region(bucket))


def _region_of_environment() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


@contextmanager
def opened(file: str, anonymous: bool, buffer: int = _REMOTE_BUFFER) -> Iterator[tuple[BinaryIO, int]]:
    """A file, local or remote, open for reading, and its size in bytes.

    Args:
        file: local path or URI.
        anonymous: whether to ask an object store without credentials.
        buffer: how many bytes at least a remote file is asked for at a time.

    Raises:
        READ_ERRORS: it cannot be opened.
        UsageError: it is a URI that cannot be read.
    """
    if is_local(file):
        path = local_path(file)
        if "\0" in path:
            raise OSError(errno.EINVAL, "the name holds a zero byte")
        status = os.stat(path)  # noqa: PTH116
        # A named pipe would wait for ever, and a device may do things when it is opened.
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        with open(path, "rb") as local:  # noqa: PTH123
            yield local, status.st_size
        return
    address = parse_address(file)
    with file_system(address, anonymous).open_input_file(address.path) as remote:
        # It has all of RawIOBase's methods that a buffer needs.
        yield cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, remote), buffer)), remote.size()
