"""A table with a column of paths as a source of photos."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet

from art2real.data.sources.entry import Entry
from art2real.data.sources.names import suffix
from art2real.data.sources.places import local_bytes, locate
from art2real.data.sources.remote import opened, plainly
from art2real.errors import UsageError, UserError

TABLE_SUFFIXES = (".parquet", ".csv", ".tsv")

DEFAULT_COLUMNS = {
    "path": ("path",),
    "licence": ("licence", "license"),
    "attribution": ("attribution",),
    "mask": ("mask",),
}
"""What a table may tell of a photo, and the names of columns that are taken where nothing else is said."""

_BATCH_ROWS = 8192


def check_roles(columns: Mapping[str, str]) -> None:
    """Refuses to look for what no table tells.

    Raises:
        UsageError: a role is unknown.
    """
    for role in columns:
        if role not in DEFAULT_COLUMNS:
            known = ", ".join(DEFAULT_COLUMNS)
            raise UsageError(f"columns: {role!r} is nothing that a table tells; known are {known}")


class Table:
    """One photo a row of a Parquet, CSV or TSV file, in its order; paths are relative to its folder."""

    def __init__(
        self, file: str, origin: str, folder: str, columns: Mapping[str, str], *, anonymous: bool = False
    ) -> None:
        """
        Args:
            file: absolute local path, or URI, of the table.
            origin: the same without options.
            folder: absolute local path, or URI, that its paths are relative to.
            columns: names of columns by role (see `DEFAULT_COLUMNS`) that differ from the default ones.
            anonymous: whether an object store is asked without credentials.
        """
        self.origin = origin
        self.not_images = 0
        self.unreadable: list[tuple[str, str]] = []
        self._file = file
        self._folder = folder
        self._columns = dict(columns)
        self._anonymous = anonymous

    def entries(self) -> Iterator[Entry]:
        self.unreadable = []
        read = self._parquet_batches if suffix(self.origin) == ".parquet" else self._text_batches
        number = 0
        for roles, batch in read():
            values = {role: self._texts(batch.column(name), name) for role, name in roles.items()}
            for row in range(batch.num_rows):
                number += 1
                found = {role: column[row] for role, column in values.items()}
                try:
                    entry = self._entry(found)
                except UsageError as error:
                    where = f"{posixpath.basename(self.origin)} row {number}"
                    self.unreadable.append((where, str(error)))
                    continue
                yield entry

    def _entry(self, found: dict[str, str | None]) -> Entry:
        path, mask = found["path"], found.get("mask")
        if not path:
            raise UsageError("the path is empty")
        file = locate(path, self._folder)
        return Entry(
            source=path,
            file=file,
            bytes=local_bytes(file),
            licence=found.get("licence"),
            attribution=found.get("attribution"),
            mask=locate(mask, self._folder) if mask else None,
        )

    def _parquet_batches(self) -> Iterator[tuple[dict[str, str], pa.RecordBatch]]:
        with plainly(self.origin), opened(self._file, self._anonymous) as (file, _):
            table = parquet.ParquetFile(file)
            roles = self._roles(table.schema_arrow.names)
            for batch in table.iter_batches(_BATCH_ROWS, columns=sorted(set(roles.values()))):
                yield roles, batch

    def _text_batches(self) -> Iterator[tuple[dict[str, str], pa.RecordBatch]]:
        # Values may hold line breaks in quotes.
        parse = csv.ParseOptions(
            delimiter="\t" if suffix(self.origin) == ".tsv" else ",", newlines_in_values=True
        )
        with plainly(self.origin):
            with opened(self._file, self._anonymous) as (file, _), csv.open_csv(file, None, parse) as reader:
                roles = self._roles(reader.schema.names)
            # Bytes, for paths that are not UTF-8, and no guessing: a path may well be a number.
            types = dict.fromkeys(roles.values(), pa.binary())
            convert = csv.ConvertOptions(include_columns=list(types), column_types=types)
            with (
                opened(self._file, self._anonymous) as (file, _),
                csv.open_csv(file, None, parse, convert) as reader,
            ):
                for batch in reader:
                    yield roles, batch

    def _roles(self, names: list[str]) -> dict[str, str]:
        """The column of each role that the table has."""
        roles = {}
        for role, wanted in self._columns.items():
            if wanted not in names:
                near = get_close_matches(wanted, names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"its columns: {', '.join(names)}"
                raise UsageError(f"{self.origin}: has no column {wanted!r} for {role}; {hint}")
            roles[role] = wanted
        for role, defaults in DEFAULT_COLUMNS.items():
            present = [name for name in defaults if name in names]
            if present and role not in roles:
                roles[role] = present[0]
        if "path" not in roles:
            raise UsageError(f"{self.origin}: has no column 'path'; say which holds it: {', '.join(names)}")
        for name in roles.values():
            if names.count(name) > 1:
                raise UserError(f"{self.origin}: has two columns {name!r}; rename one")
        return roles

    def _texts(self, column: pa.Array, name: str) -> list[str | None]:
        """A column's values as texts; what is empty is None."""
        if pa.types.is_nested(column.type):
            raise UserError(f"{self.origin}: column {name!r} holds {column.type}, not text")
        return [_text(value) for value in column.to_pylist()]


def _text(value: object) -> str | None:
    text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
    return None if text is None or text == "" else str(text)
