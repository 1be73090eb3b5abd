"""Listing of folders."""

from __future__ import annotations

import os

import pytest

from art2real.data.corpus import list_images, printable
from art2real.errors import UserError
from tests.data.hard_files import BAD, GOOD, write_hard_folder
from tests.data.sources.shards import write_shard
from tests.pictures import write_photos


def test_names_and_contents_decide(tmp_path):
    write_hard_folder(tmp_path / "hard")
    assert list_images(tmp_path / "hard") == sorted([*GOOD, *BAD])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no such folder"),
        (lambda path: path.write_text("x"), "not a folder"),
        (lambda path: path.mkdir(), "empty"),
        (lambda path: (path.mkdir(), (path / "a.txt").write_text("x")), "none of its 1 files"),
    ],
)
def test_folders_without_images_are_refused(tmp_path, make, words):
    make(tmp_path / "photos")
    with pytest.raises(UserError, match=words) as error:
        list_images(tmp_path / "photos")
    assert str(tmp_path / "photos") in str(error.value)
    assert "\n" not in str(error.value)


def test_links_are_followed_and_circles_are_not(tmp_path):
    write_photos(tmp_path / "elsewhere", 2)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "linked").symlink_to(tmp_path / "elsewhere")
    (photos / "circle").symlink_to(photos)
    (photos / "dangling.jpg").symlink_to(tmp_path / "gone.jpg")
    assert list_images(photos) == ["linked/photo-000.jpg", "linked/photo-001.jpg"]


def test_a_named_pipe_is_not_opened(tmp_path):
    write_photos(tmp_path, 1)
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")
    assert list_images(tmp_path) == ["photo-000.jpg"]


def test_names_that_are_not_utf8(tmp_path):
    (write_photos(tmp_path, 1)[0]).rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))
    [path] = list_images(tmp_path)
    assert printable(path) == "caf\\xe9.jpg"
    assert (tmp_path / path).is_file()


def test_a_folder_can_be_left_out_and_shards_are_no_images(tmp_path):
    write_photos(tmp_path, 1)
    write_photos(tmp_path / "translated", 1)
    write_shard(tmp_path / "more.tar", {"1.jpg": b"one"})
    assert list_images(tmp_path, leave_out=tmp_path / "translated") == ["photo-000.jpg"]
