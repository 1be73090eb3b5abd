"""Two builders in one folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from art2real.data.bank_build import begin, build_bank
from art2real.data.lock import LOCK, sole_builder
from art2real.data.manifest import BankSettings
from art2real.errors import UserError
from tests.data.test_bank_build import contents
from tests.pictures import write_photos

SETTINGS = BankSettings(image_size=32, photos_per_shard=4)
HOLD = """
import sys, time
from pathlib import Path
from art2real.data.lock import sole_builder
with sole_builder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_refused_until_the_first_dies(tmp_path):
    process = holder(tmp_path)
    try:
        with (
            pytest.raises(UserError, match=rf"process {process.pid} on .* is building in it"),
            sole_builder(tmp_path),
        ):
            pytest.fail("both hold the lock")
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / LOCK).exists()
        with sole_builder(tmp_path):
            pass
    finally:
        process.kill()
        process.wait()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", ["new", "resume", "overwrite"])
def test_a_second_build_changes_nothing(tmp_path, mode):
    write_photos(tmp_path / "photos", 6)
    with begin(tmp_path / "photos", tmp_path / "bank", SETTINGS) as build:
        before = contents(tmp_path / "bank")
        with pytest.raises(UserError, match=r"is building in it|holds an unfinished memory bank"):
            build_bank(tmp_path / "photos", tmp_path / "bank", SETTINGS, mode=mode)
        assert contents(tmp_path / "bank") == before
        build.run()
    build_bank(tmp_path / "photos", tmp_path / "alone", SETTINGS)
    assert contents(tmp_path / "bank") == contents(tmp_path / "alone")


def test_an_addition_waits_for_nobody(tmp_path):
    write_photos(tmp_path / "photos", 6)
    build_bank(tmp_path / "photos", tmp_path / "bank", SETTINGS)
    before = contents(tmp_path / "bank")
    with sole_builder(tmp_path / "bank"), pytest.raises(UserError, match="is building in it"):
        build_bank(tmp_path / "photos", tmp_path / "bank", SETTINGS, mode="append")
    assert contents(tmp_path / "bank") == before
