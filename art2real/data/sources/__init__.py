"""Where photos come from: folders, patterns, lists, tables and .tar shards, local or in an object store."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from art2real.data.sources.entry import Entry, Source
from art2real.data.sources.folders import LocalRoot, remote_root
from art2real.data.sources.lists import LIST_SUFFIXES, ListFile
from art2real.data.sources.names import named_like_image, suffix
from art2real.data.sources.patterns import Pattern, has_magic, split_pattern
from art2real.data.sources.places import is_local, local_path, parse_address, split_uri
from art2real.data.sources.reading import read_entry, read_file
from art2real.data.sources.tables import TABLE_SUFFIXES, Table, check_roles
from art2real.data.sources.tars import SHARD_SUFFIX, Shard
from art2real.data.sources.tree import Tree
from art2real.errors import UsageError, UserError

__all__ = ["Entry", "Source", "open_source", "read_entry", "read_file"]

_KINDS = "give a folder, a pattern, a list (.txt), a table (.parquet, .csv, .tsv) or a .tar shard"
_PACKED = re.compile(r"\.(tgz|tbz2?|txz|zip|7z|rar|tar\.\w+)$", re.IGNORECASE)


def open_source(
    text: str,
    *,
    columns: Mapping[str, str] | None = None,
    leave_out: Path | None = None,
    anonymous: bool = False,
) -> Source:
    """The source that a text names; nothing is listed yet.

    Args:
        text: path or URI of a folder, a list, a table or a .tar shard, or a pattern of paths.
        columns: for tables: names of columns by what they hold (path, licence, attribution, mask).
        leave_out: a local folder inside the source that is not part of it (the bank that is being built).
        anonymous: whether object stores are asked without credentials.

    Raises:
        UserError: there is no such file or folder.
        UsageError: the text names nothing that can be a source, or `columns` do not fit to it.
    """
    check_roles(columns or {})
    open_it = _open_local if is_local(text) else _open_remote
    source = open_it(text, columns or {}, leave_out, anonymous)
    if columns and not isinstance(source, Table):
        kinds = ", ".join(TABLE_SUFFIXES)
        raise UsageError(f"{source.origin}: is no table ({kinds}), so it has no columns to choose")
    return source


def _open_local(text: str, columns: Mapping[str, str], leave_out: Path | None, anonymous: bool) -> Source:
    path = local_path(text)
    if os.path.isdir(path):  # noqa: PTH112 - a Path would change the text
        return Tree(LocalRoot(path, leave_out))
    origin = os.path.abspath(path)  # noqa: PTH100
    if os.path.exists(path):  # noqa: PTH110
        return _open_file(origin, origin, posixpath.dirname(origin), columns, anonymous)
    if has_magic(path):
        folder, parts = split_pattern(path)
        root = LocalRoot(folder, leave_out)
        return Tree(root, pattern=Pattern(parts), origin=posixpath.join(root.origin, *parts))
    raise UserError(f"{text}: there is no such file or folder; {_KINDS}")


def _open_remote(text: str, columns: Mapping[str, str], leave_out: Path | None, anonymous: bool) -> Source:
    address = parse_address(text)
    _, written, _ = split_uri(text)
    if has_magic(written, "*["):
        if has_magic(address.bucket):
            raise UsageError(f"{address.origin}: a pattern cannot stand for buckets; name one")
        folder, parts = split_pattern(written)
        root = remote_root(replace(address, path=unquote(folder)), anonymous)
        # What is percent-encoded stands for itself.
        literal = [re.sub("%(2A|3F|5B)", r"[%\1]", part, flags=re.IGNORECASE) for part in parts]
        pattern = Pattern([unquote(part) for part in literal])
        return Tree(root, pattern=pattern, origin=f"{address.scheme}://{written}", anonymous=anonymous)
    known = (SHARD_SUFFIX, *LIST_SUFFIXES, *TABLE_SUFFIXES)
    is_file = suffix(address.path) in known or named_like_image(address.path) or _PACKED.search(address.path)
    if is_file and "/" in address.path and not written.endswith("/"):
        folder = replace(address, path=posixpath.dirname(address.path)).uri
        return _open_file(address.uri, address.origin, folder, columns, anonymous)
    return Tree(remote_root(address, anonymous), anonymous=anonymous)


def _open_file(file: str, origin: str, folder: str, columns: Mapping[str, str], anonymous: bool) -> Source:
    ending = suffix(origin)
    if ending in LIST_SUFFIXES:
        return ListFile(file, origin, folder, anonymous=anonymous)
    if ending in TABLE_SUFFIXES:
        return Table(file, origin, folder, columns, anonymous=anonymous)
    if ending == SHARD_SUFFIX:
        return Shard(file, origin, anonymous=anonymous)
    if _PACKED.search(origin):
        raise UsageError(f"{origin}: is packed; unpack it or make it an uncompressed .tar")
    raise UsageError(f"{origin}: is no source of photos that is known; {_KINDS}")
