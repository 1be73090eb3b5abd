"""Features computed by a real Ray Data job: the same however many workers there are."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from art2real.distributed import feature_job
from art2real.distributed.feature_job import extract_on_cluster
from art2real.errors import UserError
from art2real.evaluation.feature_task import FeatureTask, do_task, look_at
from tests.pictures import write_photos

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def tasks(tmp_path, inception_weights, monkeypatch) -> list[FeatureTask]:
    """Four of two files each, one of which cannot be used."""
    write_photos(tmp_path / "photos", 7)
    (tmp_path / "photos/photo-zzz.jpg").write_text("no photo")
    monkeypatch.chdir(tmp_path)  # workers have another working directory
    folder = Path("photos")
    names = sorted(path.name for path in folder.iterdir())
    files = look_at(folder, names)
    return [
        FeatureTask(each, folder, tuple(files[2 * each : 2 * each + 2]), inception_weights, 2)
        for each in range(4)
    ]


def test_features_do_not_depend_on_the_number_of_workers(tasks, inception):
    one, two = (
        {part.number: part for part in extract_on_cluster(tasks, workers=workers)} for workers in (1, 2)
    )
    assert one.keys() == two.keys() == {0, 1, 2, 3}
    for task in tasks:
        part, other, here = one[task.number], two[task.number], do_task(task, inception)
        assert part.images == other.images == here.images
        assert part.skipped == other.skipped == here.skipped
        for level, values in part.levels.items():
            assert np.array_equal(values, other.levels[level])
            np.testing.assert_allclose(values, here.levels[level], rtol=1e-5, atol=1e-5 * values.mean())
    assert one[3].skipped == (("photo-zzz.jpg", "not in an image format that can be read"),)


def test_a_worker_s_error_is_one_line(tasks, tmp_path, inception_weights):
    (tmp_path / "photos/photo-001.jpg").write_bytes(b"other")
    with pytest.raises(UserError, match=r"photo-001\.jpg: changed while") as error:
        list(extract_on_cluster(tasks[:1]))
    assert "\n" not in str(error.value)
    other = replace(inception_weights, network="resnet152")
    with pytest.raises(UserError, match="not weights of resnet152: ") as error:
        list(extract_on_cluster([replace(tasks[1], weights=other)]))
    assert "\n" not in str(error.value)


def test_nothing_is_asked_of_the_cluster_for_no_tasks():
    assert list(extract_on_cluster([])) == []


def test_a_file_that_kills_its_worker_does_not_keep_the_cluster_busy(tasks, tmp_path, monkeypatch):
    """Ray Data gives a task whose worker died to another, without end."""

    def deadly(rows, **options):
        import art2real.distributed.feature_job as job

        def do_task(task, network):
            if task.number == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(task, network)

        original, attempts = job.do_task, job._ATTEMPTS
        job.do_task, job._ATTEMPTS = do_task, 1  # each death costs a process that loads the network again
        try:
            yield from job._do_rows(rows, **options)
        finally:  # the process goes on to other tests
            job.do_task, job._ATTEMPTS = original, attempts

    monkeypatch.setattr(feature_job, "_do_rows", deadly)
    with pytest.raises(
        UserError, match=r"died 1 times at the files photo-004\.jpg to photo-005\.jpg"
    ) as error:
        list(extract_on_cluster(tasks, workers=1))
    assert "\n" not in str(error.value)
