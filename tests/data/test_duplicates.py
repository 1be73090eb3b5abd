"""Copies of photos: the first stays, whoever writes the shards and whatever interrupts them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.bank_run import do_task
from art2real.data.bank_verify import verify
from art2real.data.manifest import BankSettings
from tests.data.test_bank_build import Crash, contents, crash_at
from tests.pictures import write_photos

SETTINGS = BankSettings(image_size=32, scales=(Scale(16, 6), Scale(4, 4)), photos_per_shard=4)


def corpus(folder: Path, which: list[int]) -> Path:
    """A folder of photos whose names sort in order, `which[n]` being the n-th one's content."""
    originals = write_photos(folder / "originals", max(which) + 1, height=40, width=50)
    (folder / "photos").mkdir()
    for number, content in enumerate(which):
        shutil.copy(originals[content], folder / f"photos/{number:03d}.jpg")
    return folder / "photos"


@settings(max_examples=15, deadline=None)
@given(which=st.lists(st.integers(0, 4), min_size=1, max_size=14))
def test_the_first_of_each_stays(tmp_path_factory, which):
    folder = tmp_path_factory.mktemp("copies")
    photos = corpus(folder, which)
    manifest = build_bank(photos, folder / "bank", SETTINGS).manifest
    kept = [number for number, content in enumerate(which) if content not in which[:number]]
    assert [photo.source for photo in MemoryBank.open(folder / "bank").photos] == [
        f"{number:03d}.jpg" for number in kept
    ]
    assert manifest.photos == len(kept)
    skipped = [json.loads(line) for line in (folder / "bank/skipped.jsonl").read_text().splitlines()]
    assert {entry["path"]: entry["detail"] for entry in skipped} == {
        f"{number:03d}.jpg": f"the same bytes as {which.index(content):03d}.jpg"
        for number, content in enumerate(which)
        if number not in kept
    }
    # The bank of the first ones alone, but for where its shards end.
    for number in set(range(len(which))) - set(kept):
        (photos / f"{number:03d}.jpg").unlink()
    alone = build_bank(photos, folder / "alone", SETTINGS).manifest
    assert alone.scales == manifest.scales
    assert alone.input_sha256 == manifest.input_sha256


WHICH = [0, 1, 0, 2, 3, 1, 1, 0, 4, 5, 6, 6]


def test_the_order_of_the_tasks_does_not_matter(tmp_path):
    photos = corpus(tmp_path, WHICH)

    def backwards(tasks):
        yield from ((task.number, do_task(task)) for task in reversed(tasks))

    build_bank(photos, tmp_path / "bank", SETTINGS)
    build_bank(photos, tmp_path / "backwards", SETTINGS, write=backwards)
    assert contents(tmp_path / "bank") == contents(tmp_path / "backwards")
    assert verify(tmp_path / "bank") == []


# The listing, the mark, three tasks with four files each; three tasks again, one of them without its shard.
@pytest.mark.parametrize("count", range(14, 28))
def test_a_crash_while_copies_are_dropped(tmp_path, monkeypatch, count):
    photos = corpus(tmp_path, WHICH)
    build_bank(photos, tmp_path / "whole", SETTINGS)
    with monkeypatch.context() as patch, pytest.raises(Crash):
        crash_at(patch, count)
        build_bank(photos, tmp_path / "bank", SETTINGS)
    build_bank(photos, tmp_path / "bank", SETTINGS, mode="resume")
    assert contents(tmp_path / "bank") == contents(tmp_path / "whole")


def test_copies_count_neither_as_bad_nor_as_photos(tmp_path):
    photos = corpus(tmp_path, [0] * 120 + [1])
    manifest = build_bank(photos, tmp_path / "bank", SETTINGS, max_bad=0).manifest
    assert (manifest.photos, manifest.skipped_by_cause) == (2, {"duplicate": 119})
    assert [shard.name for shard in manifest.shards] == ["part-00000", "part-00030"]
