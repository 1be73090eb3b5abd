"""Features of folders: what is left out, what is kept, and what is computed again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from art2real.core.moments import Moments
from art2real.data.corpus import list_images
from art2real.data.images import decode, square
from art2real.errors import UsageError, UserError
from art2real.evaluation import features as module
from art2real.evaluation.feature_cache import default_cache
from art2real.evaluation.feature_part import FeaturePart
from art2real.evaluation.feature_task import FeatureTask, do_task, in_process
from art2real.evaluation.features import Features, extract_features
from art2real.evaluation.networks import NETWORKS, FeatureNetwork
from art2real.evaluation.weights import Weights
from tests.data.hard_files import BAD, GOOD, write_hard_folder
from tests.pictures import write_photos


def quick(images: np.ndarray) -> dict[str, np.ndarray]:
    """Some of an image's pixels as features of Inception's shapes, where the network does not matter."""
    some = np.tile(images[:, ::13, ::13].reshape(len(images), -1), 2).astype(np.float32)
    return {level: some[:, :size].copy() for level, size in NETWORKS["inception"].levels.items()}


class Doer:
    """Does tasks, and remembers which."""

    def __init__(self, network: FeatureNetwork = quick, fail_after: int | None = None) -> None:
        self._network, self._left = network, fail_after
        self.done: list[int] = []

    def __call__(self, tasks: Sequence[FeatureTask]) -> Iterator[FeaturePart]:
        for task in reversed(tasks):  # any order will do
            if len(self.done) == self._left:
                raise KeyboardInterrupt
            yield do_task(task, self._network)
            self.done.append(task.number)


@pytest.fixture
def photos(tmp_path) -> Path:
    write_photos(tmp_path / "photos", 5, height=40, width=56)
    (tmp_path / "photos/more").mkdir()
    (tmp_path / "photos/photo-004.jpg").rename(tmp_path / "photos/more/last.jpg")
    return tmp_path / "photos"


@pytest.fixture
def pairs(monkeypatch) -> None:
    """Tasks of two files."""
    monkeypatch.setattr(module, "FILES_PER_TASK", 2)


@pytest.fixture
def extract(tmp_path, inception_weights):
    """Extracts the features of a folder; says which tasks were done."""

    def call(
        folder: Path, *, weights: Weights = inception_weights, network=quick, fail_after=None, **options
    ):
        doer = Doer(network, fail_after)
        options.setdefault("cache", tmp_path / "cache")
        try:
            found = extract_features("photos", folder, weights, do_tasks=doer, **options)
        except KeyboardInterrupt:
            return None, doer.done
        return found, doer.done

    return call


def same(one: Features, other: Features) -> bool:
    return (one.images, one.sha256, one.skipped, one.settings, one.levels.keys()) == (
        other.images,
        other.sha256,
        other.skipped,
        other.settings,
        other.levels.keys(),
    ) and all(np.array_equal(one.levels[level], other.levels[level]) for level in one.levels)


# What is computed


def test_rows_are_the_features_of_the_images(photos, tmp_path, inception, inception_weights):
    found = extract_features("photos", photos, inception_weights, cache=tmp_path / "cache")
    assert found.images == ("more/last.jpg", *(f"photo-{number:03d}.jpg" for number in range(4)))
    assert (found.name, found.place, found.skipped) == ("photos", str(photos), ())
    images = np.stack([square(decode(photos / name), 299) for name in found.images])
    for level, values in inception(images).items():
        assert found.levels[level].dtype == np.float32
        np.testing.assert_allclose(found.levels[level], values, rtol=1e-5, atol=1e-5 * values.mean())
    assert (
        found.settings.items()
        >= {
            "network": "inception",
            "weights_sha256": inception_weights.sha256,
            "published": False,
            "image_size": 299,
            "formats": {"JPEG": 5},
        }.items()
    )


@pytest.mark.usefixtures("pairs")
def test_neither_the_batch_nor_the_tasks_change_features(photos, tmp_path, extract, inception, monkeypatch):
    one, done = extract(photos, network=inception, batch_size=1)
    assert sorted(done) == [0, 1, 2]
    monkeypatch.setattr(module, "FILES_PER_TASK", 100)
    other, done = extract(photos, network=inception, batch_size=4, cache=tmp_path / "other")
    assert done == [0]
    for level, values in one.levels.items():
        np.testing.assert_allclose(other.levels[level], values, rtol=1e-5, atol=1e-5 * values.mean())
    with pytest.raises(UsageError, match="a batch needs an image at least, not 0"):
        extract(photos, batch_size=0)


@pytest.mark.usefixtures("pairs")
def test_moments_are_added_part_by_part(photos, extract):
    (photos / "photo-001.jpg").write_bytes(b"")
    found, _ = extract(photos)
    rows = found.levels["192"]
    assert len(rows) == 4
    parts = [rows[:2], rows[2:3], rows[3:]]  # the second task has lost one of two
    expected = Moments.of(parts[0]) + Moments.of(parts[1]) + Moments.of(parts[2])
    moments = found.moments("192")
    assert moments.count == 4
    assert np.array_equal(moments.outer, expected.outer)
    assert np.array_equal(moments.total, expected.total)
    np.testing.assert_allclose(moments.covariance, np.cov(rows.astype(float).T), rtol=1e-9, atol=1e-9)


def test_features_without_parts_have_moments(extract):
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    found = Features("a", "b", tuple("abcde"), (), {"x": rows}, {})
    assert np.array_equal(found.moments("x").outer, Moments.of(rows).outer)


@pytest.mark.usefixtures("pairs")
def test_progress_counts_files(photos, extract):
    seen = []
    extract(photos, on_progress=lambda *numbers: seen.append(numbers))
    assert seen == [(0, 5), (1, 5), (3, 5), (5, 5)]
    seen.clear()
    extract(photos, on_progress=lambda *numbers: seen.append(numbers))
    assert seen == [(5, 5)]


# Files that cannot be used


def test_hard_files_are_named_and_left_out(tmp_path, extract):
    write_hard_folder(tmp_path / "hard")
    found, _ = extract(tmp_path / "hard")
    assert set(found.images) == set(GOOD)
    reasons = dict(found.skipped)
    assert reasons.keys() == BAD.keys()
    assert reasons["zero_bytes.jpg"] == "the file has no bytes"
    assert reasons["tiny_3x3.png"] == "3x3 pixels, a side below 16"
    assert found.settings["formats"] == {"GIF": 2, "JPEG": 7, "PNG": 2, "WEBP": 1}
    assert all(len(values) == len(GOOD) for values in found.levels.values())
    assert same(extract(tmp_path / "hard")[0], found)


def test_an_image_of_no_numbers_is_left_out(photos, extract):
    Image.fromarray(np.full((32, 32), np.nan, np.float32)).save(photos / "nan.tiff")
    found, _ = extract(photos)
    assert found.skipped == (("nan.tiff", "it has pixels that are not numbers"),)
    assert len(found.images) == 5


def test_names_that_are_not_unicode(photos, extract):
    (photos / "photo-000.jpg").rename(photos / "caf\udce9.jpg")
    (photos / "bad-\udce9.jpg").write_bytes(b"nothing")
    for _ in range(2):  # computed, and from the cache
        found, _ = extract(photos)
        assert found.images[0] == "caf\udce9.jpg"
        assert (photos / found.images[0]).is_file()
        assert found.skipped == (("bad-\\xe9.jpg", "not in an image format that can be read"),)


def test_a_folder_without_a_usable_image_is_an_error(tmp_path, extract):
    with pytest.raises(UserError, match="there is no such folder"):
        extract(tmp_path / "gone")
    folder = tmp_path / "bad"
    folder.mkdir()
    with pytest.raises(UserError, match="it is empty"):
        extract(folder)
    for name in ("a.jpg", "b.jpg"):
        (folder / name).touch()
    (folder / "c.png").write_text("text")
    with pytest.raises(
        UserError, match=r"not one of its 3 images can be used \(2: the file has no bytes; 1: "
    ):
        extract(folder)


def test_features_that_are_not_numbers_name_the_image(photos, extract):
    def overflowing(images: np.ndarray) -> dict[str, np.ndarray]:
        found = quick(images)
        if len(images) == 2:  # the second batch
            found["768"][1, 5] = np.inf
        return found

    with pytest.raises(
        UserError, match=r"photo-003\.jpg: its features \(level 768\) are not finite"
    ) as error:
        extract(photos, network=overflowing, batch_size=3)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", ["another content", "gone"])
def test_a_file_that_changes_meanwhile_is_an_error(photos, extract, change, monkeypatch):
    """Else its features would be stored as those of the old content."""
    original = module.look_at

    def look_at(*args):
        files = original(*args)
        if change == "gone":
            (photos / "photo-002.jpg").unlink()
        else:
            shutil.copy(photos / "photo-001.jpg", photos / "photo-002.jpg")
        return files

    monkeypatch.setattr(module, "look_at", look_at)
    with pytest.raises(
        UserError, match=r"photo-002\.jpg: changed while features were computed.*run the command"
    ):
        extract(photos)


# The cache


@pytest.mark.usefixtures("pairs")
def test_what_was_computed_is_not_computed_again(photos, tmp_path, extract):
    first, done = extract(photos)
    assert sorted(done) == [0, 1, 2]
    again, done = extract(photos, batch_size=7)
    assert done == []
    assert same(first, again)
    # The content is what counts: not where it lies.
    shutil.copytree(photos, tmp_path / "copy")
    moved, done = extract(tmp_path / "copy")
    assert done == []
    assert moved.place == str(tmp_path / "copy")
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert not list((tmp_path / "cache").rglob("*.tmp"))


@pytest.mark.usefixtures("pairs")
@pytest.mark.parametrize("change", ["content", "name", "another", "removed", "order"])
def test_other_images_are_computed(photos, extract, change):
    first, _ = extract(photos)
    if change == "content":
        shutil.copy(photos / "photo-001.jpg", photos / "photo-002.jpg")
    elif change == "name":
        (photos / "photo-002.jpg").rename(photos / "photo-002a.jpg")
    elif change == "another":
        shutil.copy(photos / "photo-001.jpg", photos / "zzz.jpg")
    elif change == "removed":
        (photos / "photo-003.jpg").unlink()
    else:  # two change their names
        (photos / "photo-001.jpg").rename(photos / "x.jpg")
        (photos / "photo-002.jpg").rename(photos / "photo-001.jpg")
        (photos / "x.jpg").rename(photos / "photo-002.jpg")
    second, done = extract(photos)
    assert done
    assert second.settings["content_sha256"] != first.settings["content_sha256"]
    assert second.images == tuple(list_images(photos))


@pytest.mark.usefixtures("pairs")
def test_other_weights_and_settings_are_computed(photos, tmp_path, extract, inception_weights, monkeypatch):
    from art2real.evaluation import feature_cache

    extract(photos)
    other = replace(inception_weights, sha256="0" * 64)
    assert len(extract(photos, weights=other)[1]) == 3
    monkeypatch.setattr(feature_cache, "RESIZE", "nearest")
    assert len(extract(photos)[1]) == 3
    monkeypatch.undo()
    monkeypatch.setattr(module, "FILES_PER_TASK", 2)
    monkeypatch.setattr(feature_cache, "FORMAT_VERSION", 0)
    assert len(extract(photos)[1]) == 3
    assert len(list((tmp_path / "cache").iterdir())) == 4


@pytest.mark.usefixtures("pairs")
def test_an_extraction_that_was_killed_goes_on_where_it_was(photos, tmp_path, extract):
    assert extract(photos, fail_after=1) == (None, [2])
    assert not list((tmp_path / "cache").rglob("manifest.json"))
    found, done = extract(photos)
    assert done == [1, 0]
    assert same(found, extract(photos, cache=tmp_path / "other")[0])


def damages(path: Path) -> Iterator[bytes]:
    content = path.read_bytes()
    yield b""
    yield content[: len(content) // 2]
    yield content[:-40] + bytes([content[-40] ^ 1]) + content[-39:]  # one bit of a feature
    yield content.replace(b"photo-002.jpg", b"photo-003.jpg")  # in the record
    yield b"\xff" * 8 + content[8:]
    yield b"not features at all"


@pytest.mark.usefixtures("pairs")
def test_a_damaged_part_is_computed_again(photos, tmp_path, extract):
    found, _ = extract(photos)
    part = next((tmp_path / "cache").rglob("part-00001.safetensors"))
    for damage in damages(part):
        part.write_bytes(damage)
        again, done = extract(photos)
        assert done == [1]
        assert same(found, again)


@pytest.mark.usefixtures("pairs")
def test_a_part_of_another_task_is_not_taken(photos, tmp_path, extract):
    found, _ = extract(photos)
    folder = next((tmp_path / "cache").iterdir())
    shutil.copy(folder / "part-00000.safetensors", folder / "part-00001.safetensors")
    again, done = extract(photos)
    assert done == [1]
    assert same(found, again)


@pytest.mark.usefixtures("pairs")
def test_another_process_may_finish_first(photos, tmp_path, extract, inception_weights):
    """Both store the same parts under the same names."""
    inner = []

    def do_tasks(tasks):
        for task in tasks:
            yield do_task(task, quick)
            if not inner:
                inner.append(extract(photos))

    outer = extract_features("photos", photos, inception_weights, cache=tmp_path / "cache", do_tasks=do_tasks)
    (found, done), *_ = inner
    assert done == [2, 1]
    assert same(outer, found)
    assert same(extract(photos)[0], found)


def test_a_cache_that_cannot_be_written_is_one_line(photos, tmp_path, extract):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/cache: features cannot be stored: Not a directory; .*--cache"):
        extract(photos, cache=tmp_path / "file/cache")


def test_the_default_cache_is_where_the_user_has_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "art2real/features"
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert default_cache() == tmp_path / ".cache/art2real/features"


# Tasks and parts travel


def test_tasks_travel_as_text(inception_weights):
    from art2real.evaluation.feature_task import SetFile

    files = (SetFile("caf\udce9.jpg", "ab"), SetFile("bad.jpg", "", "it is bad"))
    task = FeatureTask(3, Path("/photos/\udce9"), files, inception_weights, 32)
    assert task.to_json().isascii()
    assert FeatureTask.from_json(task.to_json()) == task


def test_a_part_without_images_travels(inception_weights):
    levels = {level: np.empty((0, size), np.float32) for level, size in NETWORKS["inception"].levels.items()}
    part = FeaturePart(7, (), (), (("bad.jpg", "it is bad"),), {}, levels)
    again = FeaturePart.from_bytes(part.to_bytes())
    assert (again.number, again.images, again.skipped) == (7, (), (("bad.jpg", "it is bad"),))
    assert {level: values.shape for level, values in again.levels.items()} == {
        level: (0, size) for level, size in NETWORKS["inception"].levels.items()
    }


def test_nothing_is_loaded_for_no_tasks():
    assert list(in_process([])) == []
