"""Banks built by a real Ray Data job: the same bytes as without a cluster."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from art2real.core.scale import Scale
from art2real.data.bank_build import build_bank
from art2real.data.manifest import BankSettings
from art2real.distributed import bank_job
from art2real.distributed.bank_job import write_on_cluster
from art2real.errors import UserError
from tests.data.hard_files import write_hard_folder
from tests.data.test_bank_build import contents
from tests.pictures import write_photos

pytestmark = pytest.mark.usefixtures("ray_cluster")

SETTINGS = BankSettings(image_size=32, scales=(Scale(16, 6), Scale(4, 4)), photos_per_shard=4)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos", 20, height=40, width=50)
    write_hard_folder(tmp_path / "photos/hard")
    raw = os.fsencode(tmp_path / "photos")
    Path(os.fsdecode(raw + b"/photo-000.jpg")).rename(os.fsdecode(raw + b"/caf\xe9.jpg"))
    return tmp_path / "photos"


@pytest.mark.parametrize("groups", [0, 4])
def test_a_cluster_writes_the_same_bytes(photos, tmp_path, monkeypatch, groups):
    """Whether each shard is a task of Ray's own or several share one, side by side."""
    monkeypatch.setattr(bank_job, "_GROUPS_PER_CPU", groups)
    build_bank(photos, tmp_path / "serial", SETTINGS)
    monkeypatch.chdir(tmp_path)  # workers have another working directory
    done = []
    summary = build_bank(
        Path("photos"),
        Path("bank"),
        SETTINGS,
        on_progress=lambda *numbers: done.append(numbers),
        write=write_on_cluster,
    )
    assert contents(tmp_path / "bank") == contents(tmp_path / "serial")
    assert summary.tasks_done == 10
    assert len(done) == 10
    assert done[-1] == (38, 38, 6)


def test_a_cluster_goes_on_where_it_stopped(photos, tmp_path):
    build_bank(photos, tmp_path / "serial", SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        build_bank(
            photos, tmp_path / "bank", SETTINGS, on_progress=interrupt_after(12), write=write_on_cluster
        )
    assert not (tmp_path / "bank/manifest.json").exists()
    summary = build_bank(photos, tmp_path / "bank", SETTINGS, mode="resume", write=write_on_cluster)
    assert summary.tasks_kept >= 3
    assert contents(tmp_path / "bank") == contents(tmp_path / "serial")


def interrupt_after(files: int):
    def on_progress(done: int, total: int, skipped: int) -> None:
        if done >= files:
            raise KeyboardInterrupt

    return on_progress


def test_a_target_that_workers_cannot_write_is_one_line(photos, tmp_path):
    bank = tmp_path / "bank"
    bank.mkdir()

    def write(tasks):
        # A file where a folder is needed, as seen by the workers only: the driver has looked already.
        (bank / "photos").write_text("in the way")
        return bank_job.write_on_cluster(tasks)

    with pytest.raises(UserError, match="bank: cannot be written: "):
        build_bank(photos, bank, SETTINGS, write=write)


def test_a_worker_that_is_killed_is_replaced(photos, tmp_path, monkeypatch):
    def killed_once(rows):
        import art2real.distributed.bank_job as job

        mark = tmp_path / "killed"
        for number, row in enumerate(job._do_rows(rows)):
            yield row
            if number == 0 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(bank_job, "_do_rows", killed_once)
    build_bank(photos, tmp_path / "bank", SETTINGS, write=write_on_cluster)
    assert (tmp_path / "killed").exists()
    build_bank(photos, tmp_path / "serial", SETTINGS)
    assert contents(tmp_path / "bank") == contents(tmp_path / "serial")


@pytest.mark.parametrize("groups", [0, 4])
def test_a_file_that_kills_its_worker_does_not_keep_the_build_busy(photos, tmp_path, monkeypatch, groups):
    """Ray Data starts a task whose worker died again, without end. The shard beside it is not blamed."""
    monkeypatch.setattr(bank_job, "_GROUPS_PER_CPU", groups)

    def deadly(rows):
        import art2real.distributed.bank_job as job

        def do_task(task):
            if task.number == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(task)

        original = job.do_task
        job.do_task = do_task
        try:
            yield from job._do_rows(rows)
        finally:
            job.do_task = original

    monkeypatch.setattr(bank_job, "_do_rows", deadly)
    with pytest.raises(
        UserError, match=r"a worker died 3 times at the files hard/grey.jpg to hard/no_extension; .*--resume"
    ):
        build_bank(photos, tmp_path / "bank", SETTINGS, write=write_on_cluster)
    monkeypatch.undo()
    summary = build_bank(photos, tmp_path / "bank", SETTINGS, mode="resume", write=write_on_cluster)
    assert summary.tasks_kept >= 1
    build_bank(photos, tmp_path / "serial", SETTINGS)
    assert contents(tmp_path / "bank") == contents(tmp_path / "serial")
