"""Images translated by a real Ray Data job: the same bytes as without a cluster."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from art2real.distributed import translate_anywhere, translate_job
from art2real.distributed.translate_job import translate_on_cluster
from art2real.translation.image import WHOLE_PIXELS
from art2real.translation.translate import plan_translation, run_plan
from art2real.translation.translations import RECORD
from tests.checkpoints import write_checkpoint
from tests.pictures import make_photo, write_photos

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    write_photos(tmp_path / "in/sub", 4, height=24, width=36)
    write_photos(tmp_path / "in", 2, height=16, width=16, seed=50)
    (tmp_path / "in/broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    raw = os.fsencode(tmp_path / "in")
    Path(os.fsdecode(raw + b"/photo-000.jpg")).rename(os.fsdecode(raw + b"/caf\xe9.jpg"))
    write_checkpoint(tmp_path / "weights")
    write_checkpoint(tmp_path / "others", 1)
    monkeypatch.chdir(tmp_path)  # workers have another working directory
    return tmp_path


def plan(out: str, **options):
    models = {"ours": Path("weights"), "theirs": Path("others")}
    return plan_translation(["in"], models, Path(out), **options)


def contents(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != RECORD}


def records(folder: Path) -> list[str]:
    return sorted((folder / RECORD).read_text().splitlines())


@pytest.mark.usefixtures("ray_cluster")
def test_a_cluster_makes_the_same_bytes(folder, monkeypatch):
    options = {"image_format": "jpeg", "side_by_side": True}
    Image.fromarray(make_photo(7, 40, 40)).save("in/large.png")
    # The largest counts as too large for one piece; it has a task of its own.
    monkeypatch.setattr("art2real.translation.job.WHOLE_PIXELS", 1500)
    alone = run_plan(plan("alone", **options))
    seen = []
    made = run_plan(
        plan("out", **options),
        do_pictures=partial(translate_on_cluster, workers=2),
        on_progress=lambda *numbers: seen.append(numbers),
    )
    assert (made.made, made.skipped) == (alone.made, alone.skipped)
    assert made.made == 7
    assert seen == [(number, 8) for number in range(9)]
    assert contents(folder / "out") == contents(folder / "alone")
    assert records(folder / "out") == records(folder / "alone")
    assert plan("out", **options).to_do == plan("alone", **options).to_do


@pytest.mark.usefixtures("ray_cluster")
def test_an_image_that_kills_its_workers_costs_nothing_else(folder, monkeypatch):
    """Ray Data starts a task whose worker died again, without end."""

    def deadly(rows, **rest):
        import art2real.distributed.translate_job as module
        from art2real.translation.translator import Translator

        class Deadly(Translator):
            def _decode(self, picture):
                if picture.shown.endswith("sub/photo-001.jpg"):
                    os.kill(os.getpid(), signal.SIGKILL)
                return super()._decode(picture)

        kept = module.Translator, module._ATTEMPTS
        module.Translator, module._ATTEMPTS = Deadly, 1
        module._translator.cache_clear()
        try:
            yield from module._do_rows(rows, **rest)
        finally:  # the process goes on to other tests
            module.Translator, module._ATTEMPTS = kept
            module._translator.cache_clear()

    monkeypatch.setattr(translate_job, "_do_rows", deadly)
    monkeypatch.setattr(translate_job, "_together", lambda *_: 4)
    made = run_plan(plan("out"), do_pictures=partial(translate_on_cluster, workers=1))
    assert made.made == 5
    assert not list((folder / "out").rglob(".*"))
    reasons = {Path(source).name: reason for source, reason in made.skipped}
    assert set(reasons) == {"broken.jpg", "photo-001.jpg"}
    assert reasons["photo-001.jpg"].startswith("a worker died 1 times at it")


class _Remote:
    """An actor's method in this process."""

    def __init__(self, method):
        self.remote = method


class _Attempts:
    def __init__(self):
        attempts = translate_job._Attempts()
        self.begin, self.end = _Remote(attempts.begin), _Remote(attempts.end)


def test_what_ends_all_is_an_error_of_one_line(folder, monkeypatch):
    """As a worker says it; nothing of it is for one image alone."""
    monkeypatch.setattr(translate_job.ray, "get", lambda value: value)
    planned = plan("out")
    write_checkpoint(folder / "weights", 5)
    rows = {"run": [translate_job._as_json(planned.to_do, [0, 1])]}
    translate_job._translator.cache_clear()
    (said,) = translate_job._do_rows(rows, planned.job.absolute(), 1, "cpu", _Attempts())
    assert said["number"] == [-1]
    assert "weights: changed since the work was planned" in said["error"][0]


def test_an_attempt_that_failed_is_made_again_image_by_image(folder, monkeypatch):
    monkeypatch.setattr(translate_job.ray, "get", lambda value: value)
    planned = plan("out")
    rows = {"run": [translate_job._as_json(planned.to_do, range(6))]}
    attempts = _Attempts()
    begun = [attempts.begin.remote("image 2") for _ in range(translate_job._ATTEMPTS)]
    assert begun == [1, 2, 3]

    def work():
        said = list(translate_job._do_rows(rows, planned.job.absolute(), 1, "cpu", attempts))
        return {one["number"][0]: one["reason"][0] for one in said}

    first, second = work(), work()
    assert list(first) == list(second) == list(range(6))
    assert {number: reason for number, reason in second.items() if reason != first[number]} == {
        2: "a worker died 3 times at it; try more memory"
    }


def test_workers_claim_the_memory_that_the_largest_image_takes(folder):
    (folder / "in/broken.jpg").unlink()
    planned = plan("out")

    def claimed(size):
        return translate_job._bytes(planned.job, [*planned.to_do, replace(planned.to_do[0], size=size)])

    small, large, unknown = claimed((8, 8)), claimed((8192, 8192)), claimed(None)
    assert small < unknown < large < 4 * 2**30
    assert large - small > 4 * 3 * 8192**2  # the image, and each translation, decoded
    assert unknown == claimed((1024, WHOLE_PIXELS // 1024))


# Where


def test_a_few_images_need_no_cluster(folder, monkeypatch):
    monkeypatch.setattr(translate_anywhere, "session", lambda _: pytest.fail("a cluster was started"))
    (folder / "in/broken.jpg").unlink()
    with ExitStack() as stack:
        made = run_plan(plan("out"), do_pictures=translate_anywhere.translate_anywhere(None, stack))
        assert (made.made, made.kept) == (6, 0)
        again = run_plan(plan("out"), do_pictures=translate_anywhere.translate_anywhere("auto", stack))
        assert (again.made, again.kept) == (0, 6)


@pytest.mark.parametrize(("address", "here"), [(None, 2), ("auto", 0)])
def test_much_work_goes_to_a_cluster(folder, monkeypatch, address, here):
    sent = []
    monkeypatch.setattr(translate_anywhere, "session", lambda given: ExitStack())
    monkeypatch.setattr(translate_anywhere, "_WORTH", 0.0)

    def cluster(job, pictures):
        sent.extend(pictures)
        yield from ((picture, "") for picture in pictures)

    monkeypatch.setattr(translate_job, "translate_on_cluster", cluster)
    planned = plan("out")
    with ExitStack() as stack:
        do_pictures = translate_anywhere.translate_anywhere(address, stack)
        done = [picture for picture, _ in do_pictures(planned.job, planned.to_do)]
    assert done == planned.to_do
    assert sent == planned.to_do[here:]
