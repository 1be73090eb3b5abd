"""Tables with a column of paths."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from art2real.data.sources import Entry, open_source
from art2real.errors import UsageError, UserError

ROWS = {
    "path": ["a.jpg", "sub/ü, b.jpg", "s3://bucket/c.jpg?region=r", "/abs/d.jpg", "007"],
    "licence": ["CC0", None, "", 'CC "BY"', "0"],
    "attribution": ["A\nB", "b, c", None, "é", "0"],
    "mask": ["m/a.png", "", None, "gs://masks/d.png", None],
    "other": ["1", "2", "3", "4", "5"],
}


def write(path, columns: dict[str, list]) -> None:
    table = pa.table(columns)
    if path.suffix == ".parquet":
        pa.parquet.write_table(table, path)
    else:
        delimiter = "\t" if path.suffix == ".tsv" else ","
        pa.csv.write_csv(table, path, pa.csv.WriteOptions(delimiter=delimiter))


def entries(file, **columns: str) -> list[Entry]:
    return list(open_source(str(file), columns=columns or None).entries())


@pytest.fixture(params=["parquet", "csv", "tsv"])
def table(request, tmp_path):
    path = tmp_path / f"photos.{request.param}"
    write(path, ROWS)
    return path


def test_rows_are_entries(table):
    (table.parent / "a.jpg").write_bytes(b"12345")
    found = entries(table)
    here = table.parent
    assert [entry.source for entry in found] == ROWS["path"]
    assert [entry.file for entry in found] == [
        f"{here}/a.jpg",
        f"{here}/sub/ü, b.jpg",
        "s3://bucket/c.jpg?region=r",
        "/abs/d.jpg",
        f"{here}/007",
    ]
    assert [entry.bytes for entry in found] == [5, -1, -1, -1, -1]
    assert [entry.licence for entry in found] == ["CC0", None, None, 'CC "BY"', "0"]
    assert [entry.attribution for entry in found] == ["A\nB", "b, c", None, "é", "0"]
    assert [entry.mask for entry in found] == [f"{here}/m/a.png", None, None, "gs://masks/d.png", None]
    assert open_source(str(table)).origin == str(table)


def test_other_columns_can_be_named(tmp_path):
    for ending in ("parquet", "csv"):
        path = tmp_path / f"photos.{ending}"
        write(
            path, {"path": ["no"], "a.b": ["a.jpg"], "a": ["no"], "Who took it?": ["me"], "license": ["CC0"]}
        )
        [entry] = entries(path, path="a.b", attribution="Who took it?")
        assert (entry.source, entry.attribution, entry.licence) == ("a.jpg", "me", "CC0")


def test_one_column_may_tell_two_things(table):
    assert entries(table, licence="attribution")[0].licence == "A\nB"


def test_columns_that_are_not_there_are_usage_errors(table):
    with pytest.raises(UsageError, match="no column 'licens' for licence; did you mean 'licence'"):
        entries(table, licence="licens")
    with pytest.raises(UsageError, match="no column 'zzz' for mask; its columns: path, licence"):
        entries(table, mask="zzz")
    with pytest.raises(UsageError, match="'author' is nothing that a table tells; known are path"):
        open_source(str(table), columns={"author": "attribution"})


def test_columns_are_for_tables_only(tmp_path):
    with pytest.raises(UsageError, match="is no table"):
        open_source(str(tmp_path), columns={"path": "file"})


def test_a_table_without_paths_is_refused(tmp_path):
    write(tmp_path / "t.csv", {"file": ["a.jpg"]})
    with pytest.raises(UserError, match="no column 'path'; say which holds it: file"):
        entries(tmp_path / "t.csv")


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_rows_without_a_path_are_named(tmp_path, ending):
    path = tmp_path / f"t.{ending}"
    write(path, {"path": ["a.jpg", None, "ftp://x:SECRET@y/z.jpg", "b.jpg"], "n": [1, 2, 3, 4]})
    source = open_source(str(path))
    assert [entry.source for entry in source.entries()] == ["a.jpg", "b.jpg"]
    assert [where for where, _ in source.unreadable] == [f"t.{ending} row 2", f"t.{ending} row 3"]
    assert "SECRET" not in str(source.unreadable)


def test_text_tables_of_other_systems(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfpath,licence\r\ncaf\xe9.jpg,NULL\r\nnan,\r\n")
    found = entries(tmp_path / "t.csv")
    assert [entry.source for entry in found] == ["caf\udce9.jpg", "nan"]
    assert [entry.licence for entry in found] == ["NULL", None]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b""),
        ("t.csv", b"path,licence\na.jpg\n"),
        ("t.csv", b"path,path\na.jpg,b.jpg\n"),
        ("t.parquet", b"not parquet"),
        ("t.parquet", b""),
    ],
)
def test_damaged_tables_are_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        entries(tmp_path / name)
    assert str(error.value).startswith(str(tmp_path / name))
    assert "\n" not in str(error.value)


def test_a_column_of_pictures_is_no_column_of_paths(tmp_path):
    write(tmp_path / "t.parquet", {"image": [{"bytes": b"x", "path": "a.jpg"}]})
    with pytest.raises(UserError, match="column 'image' holds struct"):
        entries(tmp_path / "t.parquet", path="image")


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_large_tables_stream(tmp_path, ending):
    path = tmp_path / f"t.{ending}"
    names = [f"{number:07d}.jpg" for number in range(100_000)]
    write(path, {"path": names})
    rows = open_source(str(path)).entries()
    assert [next(rows).source for _ in range(3)] == names[:3]
    rows.close()  # in the middle: nothing hangs, nothing is left open
    assert [entry.source for entry in open_source(str(path)).entries()] == names


def test_dictionary_columns_are_texts(tmp_path):
    column = pa.array(["a.jpg", "b.jpg", "a.jpg"]).dictionary_encode()
    pa.parquet.write_table(
        pa.table({"path": column, "licence": pa.array([0, 7, None])}), tmp_path / "t.parquet"
    )
    found = entries(tmp_path / "t.parquet")
    assert [(entry.source, entry.licence) for entry in found] == [
        ("a.jpg", "0"),
        ("b.jpg", "7"),
        ("a.jpg", None),
    ]
