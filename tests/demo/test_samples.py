"""The demo's images: crops that do not overlap, licences that are all there, a user's own folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from art2real.demo import samples as module
from art2real.demo.samples import (
    FRAME,
    Crop,
    credits,
    frame,
    make_samples,
    photo_folder,
    plan_crops,
    take_images,
    unframe,
)
from art2real.errors import UserError
from tests.pictures import make_photo, write_photos


def _ignore(done: int, total: int) -> None:
    assert 0 < done <= total


def _covered(crops: list[Crop], height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    for crop in crops:
        mask[crop.top : crop.top + crop.size, crop.left : crop.left + crop.size] = True
    return mask


@pytest.mark.parametrize(("height", "width", "size"), [(100, 300, 64), (40, 163, 40), (77, 512, 33)])
def test_kinds_of_crops_share_no_pixel(height: int, width: int, size: int) -> None:
    crops = plan_crops("x.jpg", height, width, size, {"photo": 30, "painting": 20, "held_out": 10}, seed=3)
    assert all(0 <= c.top <= height - size and 0 <= c.left <= width - size for c in crops)
    masks = {
        role: _covered([c for c in crops if c.role == role], height, width)
        for role in ("photo", "painting", "held_out")
    }
    assert all(mask.any() for mask in masks.values())
    assert not np.logical_and(masks["photo"], masks["painting"]).any()
    assert not np.logical_and(masks["photo"], masks["held_out"]).any()
    assert not np.logical_and(masks["painting"], masks["held_out"]).any()


def test_crops_reach_from_top_to_bottom_and_repeat() -> None:
    crops = plan_crops("x.jpg", 200, 400, 64, {"photo": 24}, seed=0)
    assert len(crops) == 24
    assert min(c.top for c in crops) < 20 and max(c.top for c in crops) > 116
    assert crops == plan_crops("x.jpg", 200, 400, 64, {"photo": 24}, seed=0)
    assert crops != plan_crops("y.jpg", 200, 400, 64, {"photo": 24}, seed=0)


def test_refuses_a_photo_too_small_for_its_crops() -> None:
    with pytest.raises(ValueError, match="too few"):
        plan_crops("x.jpg", 64, 200, 64, {"photo": 1}, seed=0)


def test_samples_belong_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("PHOTOS", 24), ("PAINTINGS", 24), ("HELD_OUT", 12)):
        monkeypatch.setattr(module, name, count)
    made = make_samples(tmp_path / "a", 32, 0, _ignore)
    assert made.counts() == {"photos": 24, "paintings": 24, "held_out": 12}
    assert made.truth is not None
    paintings = {path.name for folder in (made.paintings, made.held_out) for path in folder.iterdir()}
    assert paintings == {path.name for path in made.truth.iterdir()}
    for path in made.held_out.iterdir():
        painting, truth = (
            np.asarray(Image.open(folder / path.name)) for folder in (made.held_out, made.truth)
        )
        assert painting.shape == truth.shape == (32, 32, 3)
        assert not np.array_equal(painting, truth)

    again = make_samples(tmp_path / "b", 32, 0, _ignore)
    for path in made.held_out.iterdir():
        assert path.read_bytes() == (again.held_out / path.name).read_bytes()


def test_every_sample_photo_has_its_licence_and_is_free() -> None:
    rows = {credit.file: credit for credit in credits()}
    photos = {path.name for path in photo_folder().glob("*.jpg")}
    assert photos and set(rows) == photos
    assert {credit.licence for credit in rows.values()} == {"CC0 1.0"}
    assert all(credit.author and credit.source and credit.subject for credit in rows.values())
    assert sum(path.stat().st_size for path in photo_folder().iterdir()) < 3 * 2**20


def test_own_images_are_cut_square_and_some_kept_apart(tmp_path: Path) -> None:
    write_photos(tmp_path / "paintings", 10, height=40, width=60)
    write_photos(tmp_path / "photos/deep", 3, height=50, width=40)
    (tmp_path / "photos/broken.jpg").write_bytes(b"")
    made = take_images(tmp_path / "out", tmp_path / "paintings", tmp_path / "photos", 32, _ignore)
    assert made.counts() == {"photos": 3, "paintings": 8, "held_out": 2}
    assert made.truth is None and not made.trained_on
    assert len(made.skipped) == 1 and "broken.jpg: empty" in made.skipped[0]
    for path in (tmp_path / "out").rglob("*.png"):
        assert Image.open(path).size == (32, 32)


def test_too_few_own_paintings_are_trained_on_and_the_report_knows(tmp_path: Path) -> None:
    write_photos(tmp_path / "paintings", 2)
    write_photos(tmp_path / "photos", 2)
    made = take_images(tmp_path / "out", tmp_path / "paintings", tmp_path / "photos", 32, _ignore)
    assert made.trained_on
    assert made.counts() == {"photos": 2, "paintings": 2, "held_out": 2}


def test_refuses_folders_without_a_usable_image(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="empty"):
        take_images(tmp_path / "out", empty, tmp_path / "photos", 32, _ignore)
    (empty / "broken.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"none of its 1 images can be used \(broken.png"):
        take_images(tmp_path / "out2", empty, tmp_path / "photos", 32, _ignore)


def test_frame_is_black_and_white_and_comes_off_again() -> None:
    picture = make_photo(0, 24, 30)
    framed = frame(picture)
    assert framed.shape == (24 + 2 * FRAME, 30 + 2 * FRAME, 3)
    assert (framed[0] == 0).all() and (framed[FRAME - 1, FRAME:-FRAME] == 255).all()
    assert np.array_equal(unframe(framed), picture)
