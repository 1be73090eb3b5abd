"""Reading what a source named."""

from __future__ import annotations

import os

import pytest

from art2real.data.images import BadImage, ImageLimits
from art2real.data.sources import Entry, open_source, read_entry, read_file
from tests.data.sources.shards import write_shard

LIMITS = ImageLimits(max_bytes=100)


def cause(entry: Entry, limits: ImageLimits = LIMITS) -> str:
    with pytest.raises(BadImage) as error:
        read_entry(entry, limits)
    return error.value.cause


def test_limits_hold_for_whole_files_and_members(tmp_path):
    sizes = {"none.jpg": 0, "one.jpg": 1, "most.jpg": 100, "more.jpg": 101}
    files = {name: os.urandom(size) for name, size in sizes.items()}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    write_shard(tmp_path / "s.tar", files)
    entries = {entry.source: entry for entry in open_source(str(tmp_path)).entries()}
    assert len(entries) == 8
    for prefix in ("", "s.tar/"):
        assert read_entry(entries[prefix + "one.jpg"], LIMITS) == files["one.jpg"]
        assert read_entry(entries[prefix + "most.jpg"], LIMITS) == files["most.jpg"]
        assert cause(entries[prefix + "none.jpg"]) == "empty"
        assert cause(entries[prefix + "more.jpg"]) == "too_many_bytes"


def test_a_file_over_the_limit_is_not_read(tmp_path):
    with (tmp_path / "hole.jpg").open("wb") as file:
        file.truncate(2**42)  # more than the memory
    assert cause(Entry("hole.jpg", str(tmp_path / "hole.jpg"), -1)) == "too_many_bytes"
    with pytest.raises(BadImage, match="more than 100"):
        read_file(str(tmp_path / "hole.jpg"), LIMITS)


def test_a_size_that_is_too_large_is_refused_without_looking():
    assert cause(Entry("gone.jpg", "/gone.jpg", 101)) == "too_many_bytes"


@pytest.mark.parametrize("name", ["gone.jpg", ".", "pipe.jpg", "gone/a.jpg"])
def test_what_is_no_file_is_unreadable(tmp_path, name):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert cause(Entry(name, str(tmp_path / name), -1)) == "unreadable"


def test_a_shard_that_has_shrunk_is_unreadable(tmp_path):
    write_shard(tmp_path / "s.tar", {"a.jpg": b"a" * 90})
    [entry] = open_source(str(tmp_path / "s.tar")).entries()
    os.truncate(tmp_path / "s.tar", 512 + 89)
    assert cause(entry) == "unreadable"


def test_masks_are_read_by_path_or_uri(tmp_path):
    path = tmp_path / "m a.png"
    path.write_bytes(b"mask")
    assert read_file(str(path), LIMITS) == read_file(path.as_uri(), LIMITS) == b"mask"
