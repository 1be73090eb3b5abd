"""Which images a text names, and the names that their results get."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from art2real.data.sources import Entry
from art2real.errors import UsageError, UserError
from art2real.translation.inputs import Found, find_images
from art2real.translation.outputs import name_results
from tests.pictures import write_photos


def results(inputs, out, suffix=".png"):
    """(file, result) of each image."""
    found, _ = find_images([str(each) for each in inputs], out)
    names = name_results(found, suffix)
    return [(each.entry.file, str(name)) for each, name in zip(found, names, strict=True)]


def names(inputs, out):
    return [name for _, name in results(inputs, out)]


def write_shard(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as shard:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))


def test_a_folder_keeps_its_sub_folders(tmp_path):
    write_photos(tmp_path / "in" / "monet" / "late", 1)
    write_photos(tmp_path / "in", 1)
    assert names([tmp_path / "in"], tmp_path / "out") == ["monet/late/photo-000.png", "photo-000.png"]


def test_patterns_files_and_folders_name_each_image_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "in", 3)
    (tmp_path / "link.jpg").symlink_to("in/photo-001.jpg")
    given = [
        "in/photo-00[01].jpg",
        "in",
        "in/photo-000.jpg",
        f"file://{tmp_path}/in/photo-002.jpg",
        "link.jpg",
    ]
    assert names(given, tmp_path / "out") == ["photo-000.png", "photo-001.png", "photo-002.png"]


def test_a_pattern_keeps_the_folders_that_it_stands_for(tmp_path):
    for folder in ("in/a", "in/b/c"):
        write_photos(tmp_path / folder, 1)
    assert names([tmp_path / "in" / "**" / "*.jpg"], tmp_path / "out") == [
        "a/photo-000.png",
        "b/c/photo-000.png",
    ]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "nymphéas [1].png")
    given = tmp_path / "nymphéas [1].png"
    assert results([given], tmp_path / "out") == [(str(given), "nymphéas [1].png")]


def test_a_single_file_need_not_look_like_an_image(tmp_path):
    """Whoever names it gets to know why it is none."""
    (tmp_path / "notes.md").write_text("no image")
    assert names([tmp_path / "notes.md"], tmp_path / "out") == ["notes.png"]


def test_images_of_one_name_keep_their_folders(tmp_path):
    write_photos(tmp_path / "a", 2)
    write_photos(tmp_path / "b", 1)
    (tmp_path / "b" / "photo-000.jpg").rename(tmp_path / "b" / "photo-000.jpeg")
    expected = ["a/photo-000.png", "photo-001.png", "b/photo-000.png"]
    assert names([tmp_path / "a", tmp_path / "b"], tmp_path / "out") == expected


def test_images_that_differ_in_their_suffix_alone_get_a_number(tmp_path):
    for ending in ("jpg", "png", "gif"):
        Image.new("RGB", (20, 20)).save(tmp_path / f"lily.{ending}")
    folder = tmp_path.name
    expected = [f"{folder}/lily.png", f"{folder}/lily-2.png", f"{folder}/lily-3.png"]
    assert names([tmp_path], tmp_path / "out") == expected


places = st.lists(st.sampled_from(["a", "b", "a-2", "c"]), min_size=1, max_size=3).map("/".join)


@given(st.lists(st.tuples(places, st.sampled_from([".jpg", ".png", ""]), st.sampled_from(["", "a", "b"]))))
def test_no_two_results_have_one_name(images):
    found = [
        Found(Entry(f"{place}{ending}", f"/{number}", 1), PurePosixPath(place + ending), folder)
        for number, (place, ending, folder) in enumerate(images)
    ]
    named = name_results(found, ".webp")
    assert len(named) == len(set(named)) == len(images)
    assert all(name.suffix == ".webp" and not name.is_absolute() for name in named)


def test_lists_and_tables_name_images(tmp_path):
    write_photos(tmp_path / "in" / "sub", 2)
    (tmp_path / "in" / "list.txt").write_text("sub/photo-000.jpg\nsub/gone.jpg\n")
    (tmp_path / "in" / "table.csv").write_text("path\nsub/photo-001.jpg\n")
    given = [tmp_path / "in" / "list.txt", tmp_path / "in" / "table.csv"]
    assert names(given, tmp_path / "out") == ["sub/photo-000.png", "sub/gone.png", "sub/photo-001.png"]


def test_shards_are_looked_into(tmp_path):
    photo = write_photos(tmp_path / "photos", 1)[0].read_bytes()
    write_shard(tmp_path / "photos" / "more.tar", {"x/one.jpg": photo, "notes.txt": b"no"})
    found, _ = find_images(
        [str(tmp_path / "photos" / "more.tar"), str(tmp_path / "photos")], tmp_path / "out"
    )
    assert [str(each.place) for each in found] == ["x/one.jpg", "photo-000.jpg"]
    assert found[0].shown == f"{tmp_path}/photos/more.tar/x/one.jpg"


def test_results_stay_below_the_folder_whatever_a_list_or_a_shard_says(tmp_path):
    photo = write_photos(tmp_path, 1)[0].read_bytes()
    lines = [
        "/etc/absolute.jpg",
        "../../above.jpg",
        "../",
        "a/../../b.jpg",
        "nul\0/x\0y.jpg",
        "s3://bucket/k/é.jpg",
    ]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    write_shard(tmp_path / "evil.tar", {"../../up.jpg": photo, "/root.jpg": photo, "../up.jpg": photo})
    for name in names([tmp_path / "list.txt", tmp_path / "evil.tar"], tmp_path / "out"):
        assert Path(os.path.normpath(tmp_path / "out" / name)).is_relative_to(tmp_path / "out"), name
        assert "\0" not in name


def test_what_cannot_be_read_is_told(tmp_path):
    write_photos(tmp_path / "in", 1)
    (tmp_path / "in" / "cut.tar").write_bytes(b"no archive")
    found, unreadable = find_images([str(tmp_path / "in")], tmp_path / "out")
    assert len(found) == 1
    assert unreadable == [(f"{tmp_path}/in/cut.tar", "ends in the middle of a header")]


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("nowhere", UserError, "nowhere: there is no such image, folder or pattern with a match"),
        ("in/*.png", UserError, r"in/\*.png: nothing matches"),
        ("void", UserError, "void: it is empty; give images"),
        ("words", UserError, "words: none of its 1 files looks like an image"),
        ("ftp://host/x.jpg", UsageError, "ftp:// is not supported"),
        ("s3://", UsageError, "names no bucket"),
    ],
)
def test_what_names_no_image_is_refused(tmp_path, monkeypatch, text, error, words):
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "in", 1)
    (tmp_path / "void").mkdir()
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "notes.txt").write_text("no image")
    with pytest.raises(error, match=words):
        find_images([text], tmp_path / "out")


def test_one_image_afar_is_not_listed():
    """No request is sent: its name says that it is an image."""
    found, _ = find_images(["s3://bucket/some folder/lily%3F.jpg"], Path("out"), anonymous=True)
    assert [str(each.place) for each in found] == ["lily?.jpg"]
    assert found[0].folder == "some folder"
