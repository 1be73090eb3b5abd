"""Folder trees and patterns of local files."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from art2real.data.sources import open_source
from art2real.errors import UserError
from tests.data.hard_files import BAD, GOOD, OTHERS, write_hard_folder
from tests.data.sources.shards import write_shard
from tests.pictures import write_photos

NAMES = st.text("ab-./ é\udce9", min_size=1, max_size=9)


def sources(text: object, **options: object) -> list[str]:
    return [entry.source for entry in open_source(str(text), **options).entries()]


def is_plain(path: str) -> bool:
    return all(part not in ("", ".", "..") for part in path.split("/"))


@given(st.lists(NAMES.map(lambda name: name + "x.jpg").filter(is_plain), min_size=1, max_size=12))
def test_the_order_is_that_of_sorted_paths(names):
    with tempfile.TemporaryDirectory() as folder:
        written = set()
        for name in names:
            path = Path(folder, name)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            except (FileExistsError, NotADirectoryError, IsADirectoryError):  # `a.jpg` beside `a.jpg/b.jpg`
                continue
            written.add(name)
        assert sources(folder) == sorted(written)
        assert sources(f"{folder}/**/*.jpg") == sorted(written)


def test_names_and_beginnings_decide(tmp_path):
    write_hard_folder(tmp_path)
    source = open_source(str(tmp_path))
    entries = list(source.entries())
    assert [entry.source for entry in entries] == sorted([*GOOD, *BAD])
    assert source.not_images == len(OTHERS)
    assert all(entry.bytes == Path(entry.file).stat().st_size for entry in entries)
    assert all(entry.file == str(tmp_path / entry.source) for entry in entries)
    assert source.origin == str(tmp_path)


def test_reading_twice_gives_the_same(tmp_path):
    write_hard_folder(tmp_path)
    source = open_source(str(tmp_path))
    assert list(source.entries()) == list(source.entries())
    assert source.not_images == len(OTHERS)


def test_a_file_uri_is_a_local_folder(tmp_path):
    folder = tmp_path / "a b%"
    write_photos(folder, 1)
    assert sources(folder.as_uri()) == ["photo-000.jpg"]
    assert open_source(folder.as_uri()).origin == str(folder)


def test_each_folder_is_read_once(tmp_path):
    write_photos(tmp_path / "elsewhere", 1)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "linked").symlink_to(tmp_path / "elsewhere")
    (photos / "again").symlink_to(tmp_path / "elsewhere")
    (photos / "circle").symlink_to(photos)
    (photos / "dangling.jpg").symlink_to(tmp_path / "gone.jpg")
    (photos / "itself.jpg").symlink_to(photos / "itself.jpg")
    source = open_source(str(photos))
    assert [entry.source for entry in source.entries()] == ["again/photo-000.jpg"]
    assert (source.not_images, source.unreadable) == (0, [])


def test_pipes_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    source = open_source(str(tmp_path))
    assert list(source.entries()) == []
    assert source.not_images == 1


def test_the_bank_is_left_out_even_if_it_appears_while_listing(tmp_path):
    write_photos(tmp_path / "a", 1)
    entries = open_source(str(tmp_path), leave_out=tmp_path / "bank").entries()
    assert next(entries).source == "a/photo-000.jpg"
    write_photos(tmp_path / "bank", 1)
    assert list(entries) == []
    assert sources(tmp_path, leave_out=tmp_path / "bank") == ["a/photo-000.jpg"]
    assert sources(tmp_path / "**", leave_out=tmp_path / "bank") == ["a/photo-000.jpg"]


def test_listing_streams(tmp_path, monkeypatch):
    for name in "abc":
        write_photos(tmp_path / name, 1)
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scandir(path))
    entries = open_source(str(tmp_path)).entries()
    assert listed == []
    next(entries)
    assert len(listed) == 2
    assert len(list(entries)) == 2
    assert len(listed) == 4


@pytest.fixture
def deepen(tmp_path):
    """Makes a folder in a folder, any number deep, though the path be too long for one call."""

    def make(name: str, times: int) -> None:
        here = os.open(tmp_path, os.O_RDONLY)
        for _ in range(times):
            os.mkdir(name, dir_fd=here)
            below = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(os.open("deep.jpg", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        os.close(here)

    yield make
    # Python's own rmtree cannot remove it, so pytest could not either.
    subprocess.run(["rm", "-rf", tmp_path], check=True)


def test_a_tree_may_be_deeper_than_pythons_stack(tmp_path, deepen):
    deepen("d", 1200)
    assert sources(tmp_path) == ["d/" * 1200 + "deep.jpg"]


def test_what_cannot_be_listed_is_named_and_the_rest_goes_on(tmp_path, deepen):
    deepen("x" * 250, 20)  # beyond the longest path that the system takes
    write_photos(tmp_path / "y", 1)
    source = open_source(str(tmp_path))
    assert [entry.source for entry in source.entries()] == ["y/photo-000.jpg"]
    [(path, why)] = source.unreadable
    assert path.startswith("x" * 250 + "/x")
    assert why == "File name too long"


def test_shards_in_a_tree_come_at_their_place(tmp_path):
    write_photos(tmp_path, 1)
    write_shard(tmp_path / "b.tar", {"1.jpg": b"one", "1.txt": b"words", "0.jpg": b"zero"})
    (tmp_path / "b.tar.jpg").touch()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.jpg").touch()
    (tmp_path / "c.tar").write_bytes(b"")
    source = open_source(str(tmp_path))
    assert [entry.source for entry in source.entries()] == [
        "b.tar.jpg",
        "b.tar/1.jpg",
        "b.tar/0.jpg",
        "b/x.jpg",
        "photo-000.jpg",
    ]
    assert source.not_images == 1
    assert source.unreadable == [("c.tar", "is empty")]


@pytest.fixture
def forest(tmp_path):
    for name in ("a/1.jpg", "a/2.png", "a/b/3.jpg", "a/b/c/4.jpg", "d/5.jpg", "6.jpg", "x[1]/7.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    "pattern",
    [
        "*.jpg",
        "?.jpg",
        "*/*.jpg",
        "**/*.jpg",
        "a/**/*.jpg",
        "a/**/c/*.jpg",
        "**/b/**/*.jpg",
        "[ad]/*.jpg",
        "[!a]/*.jpg",
        "x[[]1]/*",
        "./a/b/*.jpg",
        "a//*.png",
        "*/b/3.jpg",
    ],
)
def test_patterns_match_as_pathlib_does(forest, pattern):
    source = open_source(f"{forest}/{pattern}")
    found = [entry.file for entry in source.entries()]
    assert found == sorted(str(path) for path in forest.glob(pattern) if path.is_file())
    assert all(entry.file.endswith("/" + entry.source) for entry in source.entries())


def test_sources_of_a_pattern_are_relative_to_its_folder(forest, monkeypatch):
    monkeypatch.chdir(forest)
    assert sources("a/b/**/*.jpg") == ["3.jpg", "c/4.jpg"]
    assert open_source("a/b/**/*.jpg").origin == f"{forest}/a/b/**/*.jpg"
    assert sources("*/1.jpg") == ["a/1.jpg"]


def test_a_pattern_of_folders_means_all_that_is_in_them(forest):
    assert sources(f"{forest}/[ad]/") == ["a/1.jpg", "a/2.png", "a/b/3.jpg", "a/b/c/4.jpg", "d/5.jpg"]
    assert sources(f"{forest}/a/**") == ["1.jpg", "2.png", "b/3.jpg", "b/c/4.jpg"]


def test_a_pattern_lists_only_folders_that_can_match(forest, monkeypatch):
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scandir(path))
    sources(f"{forest}/a/?/*.jpg")
    assert listed == [f"{forest}/a/", f"{forest}/a/b/"]


def test_a_folder_whose_name_looks_like_a_pattern_is_that_folder(forest):
    assert sources(forest / "x[1]") == ["7.jpg"]


def test_a_pattern_finds_images_by_their_beginning_and_shards(tmp_path):
    write_photos(tmp_path, 1)[0].rename(tmp_path / "photo.data")
    (tmp_path / "words.data").write_text("words")
    write_shard(tmp_path / "s.tar", {"1.jpg": b"one"})
    source = open_source(f"{tmp_path}/*")
    assert [entry.source for entry in source.entries()] == ["photo.data", "s.tar/1.jpg"]
    assert source.not_images == 1


@pytest.mark.parametrize("pattern", ["*.webp", "gone/*.jpg", "*/gone/*.jpg"])
def test_a_pattern_that_matches_nothing_is_an_error(forest, pattern):
    with pytest.raises(UserError, match="nothing matches") as error:
        sources(f"{forest}/{pattern}")
    assert f"{forest}/{pattern}" in str(error.value)
