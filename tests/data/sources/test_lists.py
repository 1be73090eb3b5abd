"""List files."""

from __future__ import annotations

import os

import pytest

from art2real.data.images import BadImage, ImageLimits
from art2real.data.sources import open_source, read_entry
from art2real.errors import UserError
from tests.pictures import write_photos


@pytest.mark.parametrize("ending", ["txt", "lst", "list", "TXT"])
def test_lines_are_entries_in_their_order(tmp_path, ending):
    first, second = write_photos(tmp_path / "photos", 2)
    elsewhere = write_photos(tmp_path / "else where", 1)[0]
    lines = [
        "photos/photo-001.jpg",
        str(first),
        elsewhere.as_uri(),
        "photos/photo-001.jpg",
        "photos/gone.jpg",
    ]
    path = tmp_path / f"photos.{ending}"
    path.write_text("\n".join(lines))
    source = open_source(str(path))
    entries = list(source.entries())
    assert [entry.source for entry in entries] == lines
    assert [entry.file for entry in entries[:4]] == [str(second), str(first), str(elsewhere), str(second)]
    assert [entry.bytes for entry in entries[:2]] == [second.stat().st_size, first.stat().st_size]
    assert entries[4].bytes == -1
    assert (source.origin, source.not_images, source.unreadable) == (str(path), 0, [])


def test_marks_line_ends_and_blank_lines_of_other_systems(tmp_path):
    (tmp_path / "l.txt").write_bytes(b"\xef\xbb\xbfa b.jpg\r\n\r\n  \r\ncaf\xe9.jpg\r\n#1.jpg\r\n")
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"12345")
    entries = list(open_source(str(tmp_path / "l.txt")).entries())
    assert [entry.source for entry in entries] == ["a b.jpg", "caf\udce9.jpg", "#1.jpg"]
    assert read_entry(entries[1], ImageLimits()) == b"12345"


def test_remote_lines_need_no_connection(tmp_path):
    (tmp_path / "l.txt").write_text("s3://bucket/a.jpg?region=eu-west-1\ngs://other/b c%20d.jpg\n")
    entries = list(open_source(str(tmp_path / "l.txt")).entries())
    assert [entry.file for entry in entries] == [
        "s3://bucket/a.jpg?region=eu-west-1",
        "gs://other/b%20c%20d.jpg",
    ]
    assert {entry.bytes for entry in entries} == {-1}


def test_lines_that_cannot_be_addresses_are_named_without_their_secrets(tmp_path):
    lines = [
        "https://user:SECRET@host/a.jpg?token=SECRET",
        "s3://KEY:SECRET@bucket/a.jpg",
        "s3://bucket/a.jpg?secret_key=SECRET",
        "fine.jpg",
    ]
    (tmp_path / "l.txt").write_text("\n".join(lines))
    source = open_source(str(tmp_path / "l.txt"))
    assert [entry.source for entry in source.entries()] == ["fine.jpg"]
    assert [where for where, _ in source.unreadable] == ["l.txt line 1", "l.txt line 2", "l.txt line 3"]
    assert "SECRET" not in str(source.unreadable)


def test_a_file_without_lines_is_no_list(tmp_path):
    (tmp_path / "l.txt").write_bytes(b"fine.jpg\n" + b"x" * 70_000)
    entries = open_source(str(tmp_path / "l.txt")).entries()
    next(entries)
    with pytest.raises(UserError, match=r"l.txt: line 2 is longer than 65,536 bytes"):
        next(entries)


def test_odd_lines_are_entries_that_cannot_be_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "l.txt").write_bytes(b"zero\0byte.jpg\npipe.jpg\n.\n" + b"n" * 5000 + b".jpg\n")
    entries = list(open_source(str(tmp_path / "l.txt")).entries())
    assert [entry.bytes for entry in entries] == [-1] * 4
    for entry in entries:
        with pytest.raises(BadImage) as error:
            read_entry(entry, ImageLimits())
        assert error.value.cause == "unreadable"
        assert "\n" not in error.value.detail
