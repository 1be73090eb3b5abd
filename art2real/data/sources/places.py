"""Addresses of files: local paths, and URIs of object stores.

An address of an object store is `s3://bucket/key` or `gs://bucket/key`, percent-encoded where a name holds
`?` or `%`, with options after a `?`. No option is a secret, so an address may be written anywhere.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, quote, unquote, urlencode

from art2real.errors import UsageError

OPTIONS = {
    "s3": ("endpoint_override", "region", "scheme"),
    "gs": ("endpoint_override", "scheme"),
}
"""The options that an address of each object store may have."""

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Address:
    """A place in an object store."""

    scheme: str
    path: str
    """Bucket and key, joined by a slash, not encoded."""
    options: tuple[tuple[str, str], ...] = ()

    @property
    def bucket(self) -> str:
        return self.path.partition("/")[0]

    @property
    def origin(self) -> str:
        """The URI without options."""
        return f"{self.scheme}://{quote(self.path)}"

    @property
    def uri(self) -> str:
        """The URI with all that another machine needs, besides credentials, to read it."""
        return self.origin + ("?" + urlencode(self.options, quote_via=quote) if self.options else "")

    def child(self, path: str) -> Address:
        return replace(self, path=f"{self.path}/{path}")


def is_uri(text: str) -> bool:
    return _URI.match(text) is not None


def split_uri(text: str) -> tuple[str, str, str]:
    """Scheme in lower case, what follows up to the options (still encoded), and the options' text."""
    match = _URI.match(text)
    assert match is not None
    path, _, query = match[2].partition("?")
    return match[1].lower(), path, query


def parse_address(text: str) -> Address:
    """Reads the URI of an object store; the environment's AWS_ENDPOINT_URL becomes an option of it.

    Raises:
        UsageError: it is none; the message never holds credentials or the values of options.
    """
    scheme, path, query = split_uri(text)
    bucket = unquote(path).partition("/")[0]
    # A secret key may hold a slash itself, so what is before the last @ is never shown.
    secrets = "@" in bucket or ":" in bucket
    shown = f"{scheme}://{unquote(path).rpartition('@')[2] if secrets else path}"
    if scheme not in OPTIONS:
        raise UsageError(f"{shown}: {scheme}:// is not supported; give a local path, s3://... or gs://...")
    if secrets:
        raise UsageError(f"{shown}: credentials do not belong into an address; set them in the environment")
    if not bucket:
        raise UsageError(f"{shown}: names no bucket; write {scheme}://BUCKET/...")
    try:
        decoded = unquote(path.strip("/"), errors="strict")
        decoded.encode()
    except UnicodeError:
        raise UsageError(f"{scheme}://{bucket}: the name after it is not UTF-8") from None
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in OPTIONS[scheme]:
            known = ", ".join(OPTIONS[scheme])
            raise UsageError(
                f"{shown}: unknown option {name!r}; known are {known} (a ? in a name is written %3F)"
            )
    return Address(scheme, decoded, _with_endpoint(shown, scheme, options))


def _with_endpoint(shown: str, scheme: str, options: dict[str, str]) -> tuple[tuple[str, str], ...]:
    endpoint = options.get("endpoint_override", "")
    if not endpoint and scheme == "s3":
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    if "@" in endpoint:
        raise UsageError(f"{shown}: credentials do not belong into an endpoint; set them in the environment")
    if is_uri(endpoint):
        protocol, endpoint, _ = split_uri(endpoint)
        options = {"scheme": protocol, **options}
    if endpoint:
        options = {**options, "endpoint_override": endpoint.rstrip("/")}
    return tuple(sorted(options.items()))


def local_path(text: str) -> str:
    """The path that a `file://` URI, or a text that is a path already, stands for.

    Raises:
        UsageError: the URI names another machine.
    """
    if not is_uri(text):
        return text
    host, _, path = text[len("file://") :].partition("/")
    if host not in ("", "localhost"):
        raise UsageError(f"{text}: names another machine; write file:///PATH")
    return "/" + os.fsdecode(unquote(path, errors="surrogateescape").encode(errors="surrogateescape"))


def is_local(text: str) -> bool:
    """Whether a text is a local path or a `file://` URI."""
    return not is_uri(text) or split_uri(text)[0] == "file"


def locate(text: str, folder: str) -> str:
    """Absolute local path, or URI, of a file that a list or a table names.

    Args:
        text: a path, relative to `folder` or absolute, or a URI.
        folder: absolute local path, or URI, of the folder that holds the list.

    Raises:
        UsageError: it is a URI that cannot be read.
    """
    if not is_local(text):
        return parse_address(text).uri
    path = local_path(text)
    if is_local(folder) or path.startswith("/"):
        return os.path.join(folder, path)  # noqa: PTH118 - a Path would rewrite what the list says
    base = parse_address(folder)
    return replace(base, path=posixpath.normpath(f"{base.path}/{path}")).uri


def local_bytes(file: str) -> int:
    """Size of a local file; -1 if it is remote, missing or no regular file."""
    if not is_local(file):
        return -1
    try:
        status = os.stat(local_path(file))  # noqa: PTH116 - a million Paths cost seconds
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1
