"""The process that counts how often images were begun may be on any node, and dies with it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from art2real.distributed import translate_job
from art2real.translation.translate import plan_translation, run_plan
from art2real.translation.translations import RECORD
from tests.checkpoints import write_checkpoint
from tests.faults.outcome import contents
from tests.pictures import write_photos


@pytest.mark.usefixtures("ray_cluster", "one_thread")
def test_the_counter_of_attempts_dies_and_all_is_translated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended the whole job: Ray does not start an actor again unless it is told to."""
    write_photos(tmp_path / "in", 12, height=24, width=36)
    write_checkpoint(tmp_path / "weights")
    died = tmp_path / "died"

    class Mortal(translate_job._Attempts):
        def begin(self, what: str) -> int:
            if what != "run 0" and not died.exists():
                died.touch()
                os._exit(1)
            return super().begin(what)

    monkeypatch.setattr(translate_job, "_Attempts", Mortal)
    monkeypatch.setattr(translate_job, "_together", lambda *_: 2)
    for out, do_pictures in (
        ("alone", {}),
        ("out", {"do_pictures": partial(translate_job.translate_on_cluster, workers=2)}),
    ):
        planned = plan_translation([str(tmp_path / "in")], {"ours": tmp_path / "weights"}, tmp_path / out)
        assert run_plan(planned, **do_pictures).made == 12
    assert died.exists()
    assert contents(tmp_path / "out", without=(RECORD,)) == contents(tmp_path / "alone", without=(RECORD,))
