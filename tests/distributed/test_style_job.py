"""Photos stylised by a real Ray Data job: the same bytes as without a cluster."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from art2real.distributed import style_job
from art2real.distributed.style_job import stylise_on_cluster
from art2real.evaluation.style_pairs import StyleSettings
from art2real.evaluation.style_transfer import plan_transfer, stylise_folder
from tests.pictures import write_photos

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = StyleSettings(size=16, steps=2)


@pytest.fixture
def weights(style_weights):
    return style_weights


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    write_photos(tmp_path / "photos", 3, height=24, width=36)
    write_photos(tmp_path / "paintings", 2, seed=50)
    (tmp_path / "photos/broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    raw = os.fsencode(tmp_path / "photos")
    Path(os.fsdecode(raw + b"/photo-000.jpg")).rename(os.fsdecode(raw + b"/caf\xe9.jpg"))
    monkeypatch.chdir(tmp_path)  # workers have another working directory
    return tmp_path


def plan(out: str, weights):
    return plan_transfer(Path("photos"), Path("paintings"), Path(out), QUICK, weights)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*")}


@pytest.mark.usefixtures("ray_cluster")
def test_a_cluster_makes_the_same_bytes(folder, weights):
    alone = stylise_folder(plan("alone", weights))
    seen = []
    made = stylise_folder(
        plan("out", weights),
        do_pairs=partial(stylise_on_cluster, workers=2),
        on_progress=lambda *numbers: seen.append(numbers),
    )
    assert (made.made, made.skipped) == (alone.made, alone.skipped)
    assert made.made == 3
    assert seen == [(number, 4) for number in range(5)]
    assert contents(folder / "out") == contents(folder / "alone")


@pytest.mark.usefixtures("ray_cluster")
def test_a_photo_that_kills_its_workers_costs_nothing_else(folder, weights, monkeypatch):
    """Ray Data starts a task whose worker died again, without end."""

    def deadly(rows, job, device):
        import art2real.distributed.style_job as module

        class Stylist(module.Stylist):
            def __call__(self, pair):
                if pair.content == "photo-001.jpg":
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().__call__(pair)

        kept = module.Stylist, module._ATTEMPTS
        module.Stylist, module._ATTEMPTS = Stylist, 1
        try:
            yield from module._do_rows(rows, job, device)
        finally:  # the process goes on to other tests
            module.Stylist, module._ATTEMPTS = kept

    monkeypatch.setattr(style_job, "_do_rows", deadly)
    made = stylise_folder(plan("out", weights), do_pairs=partial(stylise_on_cluster, workers=1))
    assert made.made == 2
    assert not list((folder / "out").glob(".*"))
    reasons = dict(made.skipped)
    assert set(reasons) == {"broken.jpg", "photo-001.jpg"}
    assert reasons["photo-001.jpg"].startswith("a worker died 1 times at it")


@pytest.mark.parametrize("what", ["folder", "weights"])
def test_what_ends_all_is_an_error_of_one_line(folder, weights, what):
    """As a worker says it; nothing of it is for one photo alone."""
    planned = plan("out", weights)
    if what == "folder":
        (folder / "out").write_text("in the way")
        words = "out: cannot be written: "
    else:
        (folder / "copy").write_bytes(b"other weights")
        job = replace(planned.job, weights=replace(weights, path=folder / "copy"))
        planned = replace(planned, job=job)
        words = "copy: the weights are not those that they were"
    pairs = [pair for pair in planned.pairs.pairs if pair.content == "photo-001.jpg"]
    rows = {"number": [0], "pair": [pairs[0].to_json()]}
    (said,) = style_job._do_rows(rows, planned.job.absolute(), "cpu")
    assert said["reason"] == [""]
    assert words in said["error"][0]
