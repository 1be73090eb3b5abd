"""Building banks: what goes in, what is left out, resume, and what is refused."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from art2real.core.scale import Scale
from art2real.data import bank_writer
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import begin, build_bank
from art2real.data.bank_run import do_task
from art2real.data.bank_verify import verify
from art2real.data.manifest import BankSettings
from art2real.errors import UserError
from tests.data.hard_files import BAD, GOOD, OTHERS, write_hard_folder
from tests.pictures import make_photo, write_photos

SETTINGS = BankSettings(image_size=32, scales=(Scale(16, 6), Scale(4, 4)), photos_per_shard=4)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos", 10, height=40, width=50)
    (tmp_path / "photos/broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    return tmp_path / "photos"


def test_the_files_of_a_bank(photos, tmp_path):
    done = []
    build_bank(photos, tmp_path / "bank", SETTINGS, on_progress=lambda *numbers: done.append(numbers))
    names = [f"part-{number:05d}" for number in range(3)]
    assert sorted(contents(tmp_path / "bank")) == sorted(
        ["manifest.json", "skipped.jsonl"]
        + [f"photos/{name}.arrow" for name in names]
        + [f"patches/{scale}/{name}.arrow" for scale in ("16x16s6", "4x4s4") for name in names]
        + [f"records/{name}.json" for name in names]
    )
    assert done == [(4, 11, 1), (8, 11, 1), (11, 11, 1)]


def test_hard_files_go_in_or_are_named(tmp_path):
    write_hard_folder(tmp_path / "hard")
    summary = build_bank(tmp_path / "hard", tmp_path / "bank", SETTINGS)
    bank = MemoryBank.open(tmp_path / "bank")
    assert sorted(photo.source for photo in bank.photos) == sorted(GOOD)
    lines = (tmp_path / "bank/skipped.jsonl").read_text(encoding="utf-8").splitlines()
    skipped = [json.loads(line) for line in lines]
    assert {entry["path"]: entry["cause"] for entry in skipped} == BAD
    assert all(entry["detail"] for entry in skipped)
    assert summary.manifest.skipped == len(BAD)
    assert summary.manifest.skipped_by_cause["not_an_image"] == 2
    assert summary.manifest.not_images == len(OTHERS)


def test_a_shard_without_a_usable_photo_is_no_shard(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(4):
        (tmp_path / f"photos/a-{number}.jpg").write_bytes(b"\xff\xd8\xff broken")
    Image.fromarray(make_photo(0)).save(tmp_path / "photos/b.png")
    manifest = build_bank(tmp_path / "photos", tmp_path / "bank", SETTINGS).manifest
    assert [shard.name for shard in manifest.shards] == ["part-00001"]
    bank = MemoryBank.open(tmp_path / "bank")
    assert [photo.source for photo in bank.photos] == ["b.png"]
    assert len(next(bank.blocks(Scale(4, 4)))) == bank.rows(Scale(4, 4)) == 64
    assert verify(tmp_path / "bank") == []
    assert build_bank(tmp_path / "photos", tmp_path / "bank", SETTINGS, mode="resume").tasks_done == 0


def test_names_that_are_not_utf8_go_in(photos, tmp_path):
    raw = os.fsencode(photos)
    Path(os.fsdecode(raw + b"/photo-000.jpg")).rename(os.fsdecode(raw + b"/caf\xe9.jpg"))
    Path(os.fsdecode(raw + b"/broken.jpg")).rename(os.fsdecode(raw + b"/br\xf6ken.jpg"))
    build_bank(photos, tmp_path / "bank", SETTINGS)
    assert "caf\\xe9.jpg" in [photo.source for photo in MemoryBank.open(tmp_path / "bank").photos]
    [line] = (tmp_path / "bank/skipped.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["path"] == "br\\xf6ken.jpg"


def test_files_that_vanish_after_the_listing_are_named(photos, tmp_path):
    with begin(photos, tmp_path / "bank", SETTINGS) as build:
        (photos / "photo-003.jpg").unlink()
        manifest = build.run().manifest
    assert manifest.skipped_by_cause == {"not_an_image": 1, "unreadable": 1}


# Resume


class Crash(BaseException):
    """Stands for the death of the process: nothing may catch it."""


def crash_at(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Lets `count` files be renamed into place, then crashes."""
    replace, left = Path.replace, [count]

    def counted(self: Path, target: Path) -> Path:
        if left[0] == 0:
            raise Crash
        left[0] -= 1
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", counted)


# A shard of SETTINGS renames four files: photos, two tables, its record. The listing and the mark that a bank
# is being built come before, skipped.jsonl and the manifest after the three shards: 16 in all.
@pytest.mark.parametrize("count", range(2, 16))
def test_a_crash_at_any_file_resumes_to_the_same_bytes(photos, tmp_path, monkeypatch, count):
    build_bank(photos, tmp_path / "whole", SETTINGS)
    with monkeypatch.context() as patch, pytest.raises(Crash):
        crash_at(patch, count)
        build_bank(photos, tmp_path / "bank", SETTINGS)
    with pytest.raises(UserError, match=r"not finished; run build-banks .* --resume"):
        MemoryBank.open(tmp_path / "bank")
    with pytest.raises(UserError, match="--resume"):
        build_bank(photos, tmp_path / "bank", SETTINGS)
    summary = build_bank(photos, tmp_path / "bank", SETTINGS, mode="resume")
    assert summary.tasks_kept == min((count - 2) // 4, 3)
    assert summary.tasks_kept + summary.tasks_done == 3
    assert contents(tmp_path / "bank") == contents(tmp_path / "whole")


def test_a_crash_while_listing_leaves_nothing_in_the_way(photos, tmp_path, monkeypatch):
    for count in (0, 1):
        with monkeypatch.context() as patch, pytest.raises(Crash):
            crash_at(patch, count)
            build_bank(photos, tmp_path / "bank", SETTINGS)
        assert set(contents(tmp_path / "bank")) <= {"listing.arrow"}
    build_bank(photos, tmp_path / "bank", SETTINGS)
    build_bank(photos, tmp_path / "whole", SETTINGS)
    assert contents(tmp_path / "bank") == contents(tmp_path / "whole")


def test_a_killed_process_resumes_to_the_same_bytes(photos, tmp_path):
    """SIGKILL in the middle of the second shard, with a file half-written."""
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from art2real.data.bank_build import build_bank\n"
        "from tests.data.test_bank_build import SETTINGS\n"
        "calls = []\n"
        "def fsync(_):\n"
        "    calls.append(0)\n"
        "    if len(calls) == 7: os.kill(os.getpid(), signal.SIGKILL)\n"
        "os.fsync = fsync\n"
        "build_bank(Path('photos'), Path('bank'), SETTINGS)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    assert killed.returncode == -signal.SIGKILL
    assert list((tmp_path / "bank").rglob(".*.tmp"))
    summary = build_bank(photos, tmp_path / "bank", SETTINGS, mode="resume")
    assert (summary.tasks_kept, summary.tasks_done) == (1, 2)
    build_bank(photos, tmp_path / "whole", SETTINGS)
    assert contents(tmp_path / "bank") == contents(tmp_path / "whole")


def test_resume_of_a_finished_bank_changes_nothing(photos, tmp_path):
    build_bank(photos, tmp_path / "bank", SETTINGS)
    before = contents(tmp_path / "bank")
    summary = build_bank(photos, tmp_path / "bank", SETTINGS, mode="resume")
    assert (summary.tasks_done, summary.tasks_kept) == (0, 3)
    assert contents(tmp_path / "bank") == before


@pytest.mark.parametrize(
    "name",
    ["photos/part-00001.arrow", "patches/4x4s4/part-00000.arrow", "records/part-00002.json", "skipped.jsonl"],
)
def test_resume_mends_a_bank_with_a_missing_file(photos, tmp_path, name):
    build_bank(photos, tmp_path / "bank", SETTINGS)
    before = contents(tmp_path / "bank")
    (tmp_path / "bank" / name).unlink()
    assert verify(tmp_path / "bank") == [name]
    build_bank(photos, tmp_path / "bank", SETTINGS, mode="resume")
    assert contents(tmp_path / "bank") == before


def test_resume_with_other_settings_or_files_is_refused(photos, tmp_path):
    build_bank(photos, tmp_path / "bank", SETTINGS)
    other = SETTINGS.model_copy(update={"min_side": 20})
    with pytest.raises(UserError, match=r"other settings \(min_side 20, not 16\).*--overwrite"):
        build_bank(photos, tmp_path / "bank", other, mode="resume")
    other = SETTINGS.model_copy(update={"scales": (Scale(8, 5),)})
    with pytest.raises(UserError, match=r"\(scales 8:5, not 16:6 4:4\)"):
        build_bank(photos, tmp_path / "bank", other, mode="resume")
    write_photos(photos / "more", 1)
    with pytest.raises(UserError, match=r"photos have changed since it was begun; use --append to add"):
        build_bank(photos, tmp_path / "bank", SETTINGS, mode="resume")


def test_a_shard_of_other_settings_is_refused(photos, tmp_path):
    """A record from elsewhere in the folder of an unfinished bank, as after a copy by hand."""
    build_bank(photos, tmp_path / "other", SETTINGS.model_copy(update={"min_side": 20}))
    build_bank(photos, tmp_path / "bank", SETTINGS)
    (tmp_path / "other/records/part-00001.json").replace(tmp_path / "bank/records/part-00001.json")
    with pytest.raises(
        UserError, match=r"part-00001\.json: the shard was built with other settings.*--overwrite"
    ):
        build_bank(photos, tmp_path / "bank", SETTINGS, mode="resume")


def test_a_finished_bank_is_not_touched_without_a_word(photos, tmp_path):
    build_bank(photos, tmp_path / "bank", SETTINGS)
    before = contents(tmp_path / "bank")
    with pytest.raises(UserError, match=r"--resume.*--overwrite"):
        build_bank(photos, tmp_path / "bank", SETTINGS)
    assert contents(tmp_path / "bank") == before


def test_overwrite_builds_anew_and_takes_the_index_along(photos, tmp_path):
    build_bank(photos, tmp_path / "bank", SETTINGS)
    (tmp_path / "bank/index/4x4s4").mkdir(parents=True)
    (tmp_path / "bank/index/4x4s4/manifest.json").write_text("{}")
    other = SETTINGS.model_copy(update={"photos_per_shard": 7})
    build_bank(photos, tmp_path / "bank", other, mode="overwrite")
    build_bank(photos, tmp_path / "fresh", other)
    assert contents(tmp_path / "bank") == contents(tmp_path / "fresh")


@pytest.mark.parametrize("mode", ["new", "resume", "overwrite", "append"])
def test_a_folder_that_is_no_bank_is_never_touched(photos, tmp_path, mode):
    (tmp_path / "mine/photos").mkdir(parents=True)
    (tmp_path / "mine/photos/only-copy.txt").write_text("dear")
    with pytest.raises(UserError, match="holds other files and no memory bank"):
        build_bank(photos, tmp_path / "mine", SETTINGS, mode=mode)
    assert contents(tmp_path / "mine") == {"photos/only-copy.txt": b"dear"}


# Bad corpora and bad targets


def test_too_many_bad_files_end_the_build_and_keep_what_is_done(tmp_path):
    write_photos(tmp_path / "photos", 98, height=16, width=16)
    for number in range(6):
        (tmp_path / f"photos/z-{number}.jpg").write_bytes(b"\xff\xd8\xff broken")
    with pytest.raises(
        UserError, match=r"6 of 104 files cannot be used \(6 not an image\).*--max-bad 0\.05"
    ) as error:
        build_bank(tmp_path / "photos", tmp_path / "bank", SETTINGS)
    assert error.value.exit_code == 1
    assert not (tmp_path / "bank/manifest.json").exists()
    assert len(list((tmp_path / "bank/photos").iterdir())) >= 24
    summary = build_bank(tmp_path / "photos", tmp_path / "bank", SETTINGS, mode="resume", max_bad=0.06)
    assert summary.tasks_kept >= 24
    assert summary.manifest.photos == 98


def test_max_bad_leaves_small_corpora_alone(tmp_path):
    write_photos(tmp_path / "photos", 49, height=16, width=16)
    for number in range(50):
        (tmp_path / f"photos/z-{number}.jpg").write_bytes(b"\xff\xd8\xff broken")
    assert build_bank(tmp_path / "photos", tmp_path / "bank", SETTINGS).manifest.photos == 49


def test_nothing_usable_leaves_nothing_behind(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_text("no")
    (tmp_path / "photos/b.jpg").touch()
    with pytest.raises(UserError, match=r"not one of its 2 images can be used \(1 empty, 1 not an image\)"):
        build_bank(tmp_path / "photos", tmp_path / "bank", SETTINGS)
    assert not (tmp_path / "bank").exists()


def test_a_missing_corpus_leaves_nothing_behind(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        build_bank(tmp_path / "photos", tmp_path / "bank", SETTINGS)
    assert not (tmp_path / "bank").exists()


def test_a_target_that_cannot_be_made(photos, tmp_path):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file/bank"):
        with pytest.raises(UserError) as error:
            build_bank(photos, out, SETTINGS)
        assert str(out) in str(error.value)


def test_a_full_disk_is_one_line_and_loses_nothing(photos, tmp_path, monkeypatch):
    build_bank(photos, tmp_path / "whole", SETTINGS)
    written = []

    def full(self, *_):
        written.append(self)
        if len(written) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="bank: cannot be written: No space left on device"):
            build_bank(photos, tmp_path / "bank", SETTINGS)
    summary = build_bank(photos, tmp_path / "bank", SETTINGS, mode="resume")
    assert summary.tasks_kept == 1
    assert contents(tmp_path / "bank") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"scales": (Scale(64, 6),)}, "larger than the 32-pixel photos"),
        ({"scales": ()}, "at least one scale"),
        ({"scales": (Scale(4, 4), Scale(4, 4))}, "given twice"),
    ],
)
def test_settings_that_make_no_bank(wrong, words):
    with pytest.raises(ValueError, match=words):
        BankSettings(image_size=32, **wrong)


# Checksums


def test_verify_names_every_damaged_file(photos, tmp_path):
    bank = tmp_path / "bank"
    build_bank(photos, bank, SETTINGS)
    assert verify(bank) == []
    everything = [name for name in contents(bank) if name != "manifest.json"]
    for name in everything:
        data = bytearray((bank / name).read_bytes())
        data[len(data) // 2] ^= 1
        (bank / name).write_bytes(data)
    assert sorted(verify(bank)) == sorted(everything)


def test_tasks_side_by_side_write_the_same_bytes(photos, tmp_path):
    def side_by_side(tasks):
        with ThreadPoolExecutor(3) as pool:
            for task, record in zip(tasks, pool.map(do_task, tasks), strict=True):
                yield task.number, record

    build_bank(photos, tmp_path / "alone", SETTINGS)
    build_bank(photos, tmp_path / "together", SETTINGS, write=side_by_side)
    assert contents(tmp_path / "together") == contents(tmp_path / "alone")


def test_photos_are_decoded_while_the_files_of_another_task_are_written(photos, tmp_path, monkeypatch):
    """Each of two tasks waits, at its files, until the other one is there too."""
    meeting = threading.Barrier(2)

    def write_tables(*arguments):
        meeting.wait(timeout=60)
        return original(*arguments)

    original = bank_writer.write_tables
    monkeypatch.setattr(bank_writer, "write_tables", write_tables)
    with begin(photos, tmp_path / "bank", SETTINGS) as build, ThreadPoolExecutor(2) as pool:
        assert [len(record.shards) for record in pool.map(do_task, build.tasks[:2])] == [1, 1]
