"""Adding photos to a finished bank."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.bank_verify import verify
from art2real.data.manifest import BankSettings, read_manifest
from art2real.errors import UserError
from tests.data.test_bank_build import Crash, contents, crash_at
from tests.pictures import write_photos

SETTINGS = BankSettings(image_size=32, scales=(Scale(16, 6), Scale(4, 4)), photos_per_shard=4)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos", 6, height=40, width=50)
    (tmp_path / "photos/broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    (tmp_path / "photos/notes.txt").write_text("x")
    return tmp_path / "photos"


@pytest.fixture
def bank(photos: Path, tmp_path: Path) -> Path:
    build_bank(photos, tmp_path / "bank", SETTINGS)
    return tmp_path / "bank"


def sources(bank: Path) -> list[str]:
    return [photo.source for photo in MemoryBank.open(bank).photos]


def test_a_grown_folder_adds_what_is_new_and_touches_nothing_else(photos, bank):
    before = contents(bank)
    write_photos(photos / "more", 5, seed=100, height=40, width=50)
    read = []
    summary = build_bank(photos, bank, SETTINGS, mode="append", on_progress=lambda *got: read.append(got))
    assert read[-1] == (5, 5, 0), "what was read before is not read again"
    after = contents(bank)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"manifest.json"}
    assert summary.manifest.photos == 11
    assert summary.manifest.skipped_by_cause == {"not_an_image": 1}
    assert summary.manifest.not_images == 1
    assert sources(bank)[6:] == [f"more/photo-00{number}.jpg" for number in range(5)]
    assert verify(bank) == []


def test_the_mean_is_that_of_all_photos(photos, bank, tmp_path):
    write_photos(photos / "more", 5, seed=100, height=40, width=50)
    build_bank(photos, bank, SETTINGS, mode="append")
    build_bank(photos, tmp_path / "whole", SETTINGS)
    for scale in SETTINGS.scales:
        opened, whole = MemoryBank.open(bank), MemoryBank.open(tmp_path / "whole")
        np.testing.assert_array_equal(opened.mean(scale), whole.mean(scale))
        vectors = np.concatenate(list(opened.blocks(scale)))
        np.testing.assert_allclose(opened.mean(scale), vectors.mean(0, dtype=np.float64), atol=1e-6)


def test_another_corpus_is_added_without_copies(photos, bank, tmp_path):
    write_photos(tmp_path / "other", 3, seed=200, height=40, width=50)
    shutil.copy(photos / "photo-002.jpg", tmp_path / "other/again.jpg")
    manifest = build_bank(tmp_path / "other", bank, SETTINGS, mode="append").manifest
    assert [each.origin for each in manifest.inputs] == [str(photos), str(tmp_path / "other")]
    assert manifest.photos == 9
    assert manifest.skipped_by_cause == {"duplicate": 1, "not_an_image": 1}
    assert '"again.jpg"' in (bank / "skipped.jsonl").read_text()


def test_nothing_new_changes_nothing(photos, bank):
    before = contents(bank)
    summary = build_bank(photos, bank, SETTINGS, mode="append")
    assert (summary.tasks_done, summary.tasks_kept) == (0, 0)
    assert contents(bank) == before


def test_a_bad_file_that_was_mended_goes_in(photos, bank):
    good = write_photos(photos.parent / "good", 1, seed=300, height=40, width=50)
    shutil.copy(good[0], photos / "broken.jpg")
    build_bank(photos, bank, SETTINGS, mode="append")
    assert sources(bank)[-1] == "broken.jpg"


def test_an_addition_without_a_usable_photo_keeps_the_bank(photos, bank):
    (photos / "worse.jpg").write_bytes(b"\xff\xd8\xff no")
    manifest = build_bank(photos, bank, SETTINGS, mode="append").manifest
    assert (manifest.photos, manifest.skipped) == (6, 2)
    assert verify(bank) == []


# The listing, the mark, four files of a shard and its record twice, then skipped.jsonl; the manifest ends it.
@pytest.mark.parametrize("count", range(1, 12))
@pytest.mark.parametrize("mode", ["append", "resume"])
def test_a_crash_leaves_the_bank_readable_and_goes_on(photos, bank, tmp_path, monkeypatch, count, mode):
    write_photos(photos / "more", 5, seed=100, height=40, width=50)
    shutil.copytree(bank, tmp_path / "unbroken")
    build_bank(photos, tmp_path / "unbroken", SETTINGS, mode="append")
    with monkeypatch.context() as patch, pytest.raises(Crash):
        crash_at(patch, count)
        build_bank(photos, bank, SETTINGS, mode="append")
    assert len(sources(bank)) == 6
    if count == 1:  # only the listing was there: as good as not begun
        mode = "append"
    build_bank(photos, bank, SETTINGS, mode=mode)
    assert contents(bank) == contents(tmp_path / "unbroken")


def test_an_unfinished_addition_of_other_files_comes_first(photos, bank, tmp_path, monkeypatch):
    write_photos(tmp_path / "other", 5, seed=200, height=40, width=50)
    with monkeypatch.context() as patch, pytest.raises(Crash):
        crash_at(patch, 4)
        build_bank(tmp_path / "other", bank, SETTINGS, mode="append")
    write_photos(tmp_path / "third", 5, seed=300, height=40, width=50)
    with pytest.raises(UserError, match="changed since it was begun"):
        build_bank(tmp_path / "third", bank, SETTINGS, mode="append")
    build_bank(tmp_path / "other", bank, SETTINGS, mode="append")
    build_bank(tmp_path / "third", bank, SETTINGS, mode="append")
    assert read_manifest(bank).photos == 16


def test_missing_files_of_every_input_are_mended(photos, bank, tmp_path):
    write_photos(tmp_path / "other", 5, seed=200, height=40, width=50)
    build_bank(tmp_path / "other", bank, SETTINGS, mode="append")
    before = contents(bank)
    for corpus, name in (
        (photos, "photos/part-00001.arrow"),
        (tmp_path / "other", "patches/4x4s4/part-00003.arrow"),
    ):
        (bank / name).unlink()
        assert verify(bank) == [name]
        build_bank(corpus, bank, SETTINGS, mode="resume")
        assert contents(bank) == before


def test_only_a_finished_bank_of_the_same_settings_is_added_to(photos, bank, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"nothing: there is no memory bank to append to"):
        build_bank(photos, tmp_path / "nothing", SETTINGS, mode="append")
    with pytest.raises(UserError, match=r"other settings \(min_side 20, not 16\)"):
        build_bank(photos, bank, SETTINGS.model_copy(update={"min_side": 20}), mode="append")
    with monkeypatch.context() as patch, pytest.raises(Crash):
        crash_at(patch, 4)
        build_bank(photos, tmp_path / "begun", SETTINGS)
    with pytest.raises(UserError, match=r"begun: is not finished; go on with it first \(--resume\)"):
        build_bank(photos, tmp_path / "begun", SETTINGS, mode="append")
