"""The order, the crops and the bad files of the unpaired batches."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from art2real.errors import UserError
from art2real.training.data import ImageStream, UnpairedImages, steps_per_epoch
from tests.pictures import make_photo, write_photos


def images(folder, *, batch_size=1, seed=0, rank=0, world_size=1, flip=True, load_size=36, crop_size=32):
    return UnpairedImages(
        str(folder / "x"),
        str(folder / "y"),
        load_size=load_size,
        crop_size=crop_size,
        flip=flip,
        batch_size=batch_size,
        seed=seed,
        rank=rank,
        world_size=world_size,
    )


@pytest.fixture
def folder(tmp_path):
    write_photos(tmp_path / "x", 3, height=40, width=60)
    write_photos(tmp_path / "y", 5, height=60, width=40, seed=50)
    return tmp_path


def write_flat(folder, greys):
    """One grey 36 x 36 image for each value: what a crop came from can be read off it."""
    folder.mkdir()
    for number, grey in enumerate(greys):
        Image.fromarray(np.full((36, 36, 3), grey, np.uint8)).save(folder / f"{number}.png")


def test_a_batch_has_the_networks_shape_and_range(folder):
    paintings, photos = images(folder, batch_size=2).batch(0)
    for batch in (paintings, photos):
        assert batch.shape == (2, 3, 32, 32)
        assert batch.dtype == torch.float32
        assert -1 <= batch.min() < -0.2 < 0.2 < batch.max() <= 1


def test_each_epoch_shows_every_image_once_in_a_new_order(tmp_path):
    greys = list(range(0, 200, 20))
    write_flat(tmp_path / "x", greys)
    stream = ImageStream(str(tmp_path / "x"), domain=0, seed=1, load_size=36, crop_size=32, flip=True)
    epochs = [[int(stream.crop(10 * epoch + place)[0, 0, 0]) for place in range(10)] for epoch in range(3)]
    assert all(sorted(epoch) == greys for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_an_epoch_is_a_pass_over_the_larger_folder(folder):
    assert steps_per_epoch(3, 5, 1) == 5
    assert steps_per_epoch(3, 5, 2) == 3
    assert steps_per_epoch(6, 5, 6) == 1
    data = images(folder, batch_size=2, world_size=3)
    assert data.per_step == 6
    assert data.epoch(0) == 0
    assert data.epoch(15) == 3


def test_the_seed_and_the_step_decide_everything(folder):
    one, other = images(folder), images(folder)
    other.batch(7)  # what was asked before makes no difference
    for step in (3, 0, 11):
        for a, b in zip(one.batch(step), other.batch(step), strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(one.batch(3)[1], images(folder, seed=1).batch(3)[1])


def test_workers_share_a_step_as_one_worker_with_a_larger_batch_would_see_it(folder):
    whole = images(folder, batch_size=4).batch(12)
    parts = [images(folder, batch_size=2, rank=rank, world_size=2).batch(12) for rank in range(2)]
    for domain in range(2):
        assert torch.equal(whole[domain], torch.cat([part[domain] for part in parts]))


def test_batches_from_the_threads_are_the_batches_of_their_steps(folder):
    data = images(folder)
    ready = list(data.batches(2, 7))
    assert len(ready) == 7
    assert data.waited > 0
    for step, (paintings, photos) in enumerate(ready, 2):
        assert torch.equal(paintings, images(folder).batch(step)[0])
        assert torch.equal(photos, images(folder).batch(step)[1])


def test_another_number_of_workers_goes_on_where_the_images_were_left(folder):
    two = [images(folder, rank=rank, world_size=2) for rank in range(2)]
    seen = [each.batch(position)[1] for position in (0, 2) for each in two]
    seen += [photos for _, photos in images(folder).batches(4, 3)]
    for position, photos in enumerate(seen):
        assert torch.equal(photos, images(folder).batch(position)[1])


def test_images_come_from_lists_and_shards_too(folder, tmp_path):
    files = sorted((folder / "x").iterdir())
    (tmp_path / "x.txt").write_text("".join(f"{path}\n" for path in files))
    with tarfile.open(tmp_path / "y.tar", "w") as shard:
        for path in sorted((folder / "y").iterdir()):
            shard.add(path, path.name)
    settings = {"load_size": 36, "crop_size": 32, "flip": True, "batch_size": 2, "seed": 0}
    other = UnpairedImages(str(tmp_path / "x.txt"), str(tmp_path / "y.tar"), **settings)
    for position in (0, 2, 8):
        wanted, found = images(folder, batch_size=2).batch(position), other.batch(position)
        assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))


def test_crops_are_cut_from_the_resized_image_at_random_and_mirrored(tmp_path):
    write_photos(tmp_path / "x", 1, height=72, width=100)
    stream = ImageStream(str(tmp_path / "x"), domain=0, seed=0, load_size=36, crop_size=32, flip=True)
    whole = stream._load(0)
    assert whole.shape == (36, 50, 3)
    windows = {whole[y : y + 32, x : x + 32].tobytes(): (y, x) for y in range(5) for x in range(19)} | {
        whole[y : y + 32, x : x + 32][:, ::-1].tobytes(): (y, x, "mirrored")
        for y in range(5)
        for x in range(19)
    }
    found = [windows[np.ascontiguousarray(stream.crop(position)).tobytes()] for position in range(60)]
    assert 20 <= sum(len(window) == 3 for window in found) <= 40
    assert len({window[0] for window in found}) == 5
    assert len({window[1] for window in found}) > 12


def test_without_mirroring_no_crop_is_mirrored(tmp_path):
    write_photos(tmp_path / "x", 1, height=36, width=36)
    stream = ImageStream(str(tmp_path / "x"), domain=0, seed=0, load_size=36, crop_size=36, flip=False)
    assert all(np.array_equal(stream.crop(position), stream.crop(0)) for position in range(10))


def test_broken_files_are_left_out_and_named(folder, caplog):
    (folder / "y" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (folder / "y" / "empty.png").touch()
    data = images(folder)
    for _ in data.batches(0, 14):
        pass
    assert set(data.broken) == {f"{folder / 'y'}: broken.jpg", f"{folder / 'y'}: empty.png"}
    assert "empty" in data.broken[f"{folder / 'y'}: empty.png"]
    assert len([line for line in caplog.messages if "is left out" in line]) == 2


def test_a_folder_in_which_no_image_is_whole_is_refused(folder):
    for path in (folder / "x").iterdir():
        path.write_bytes(b"\xff\xd8\xff\xe0 no more")
    with pytest.raises(UserError, match=r"x: none of its 3 images can be used \(for example photo-00"):
        next(images(folder).batches(0, 1))


def test_an_empty_folder_is_refused(folder, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="none"):
        UnpairedImages(
            str(tmp_path / "none"),
            str(folder / "y"),
            load_size=36,
            crop_size=32,
            flip=True,
            batch_size=1,
            seed=0,
        )


def test_a_full_cache_changes_nothing_but_the_time(folder):
    streams = [
        ImageStream(
            str(folder / "y"), domain=1, seed=0, load_size=36, crop_size=32, flip=True, cache_bytes=size
        )
        for size in (0, 12_000, 2**30)
    ]
    assert [len(stream._cache) for stream in streams if [stream.crop(place) for place in range(5)]] == [
        0,
        2,
        5,
    ]
    for position in range(12):
        crops = [stream.crop(position) for stream in streams]
        assert np.array_equal(crops[0], crops[1])
        assert np.array_equal(crops[0], crops[2])


def test_of_a_long_strip_the_middle_is_used(tmp_path):
    (tmp_path / "x").mkdir()
    Image.fromarray(make_photo(0, 16, 3000)).save(tmp_path / "x" / "strip.png")
    stream = ImageStream(str(tmp_path / "x"), domain=0, seed=0, load_size=36, crop_size=32, flip=True)
    assert stream._load(0).shape == (36, 288, 3)


def test_sample_paintings_stay_the_same(folder):
    one, other = images(folder), images(folder, seed=9)
    assert one.sample_paintings(2).shape == (2, 3, 32, 32)
    assert len(one.sample_paintings(50)) == 3
    assert torch.equal(one.sample_paintings(2), other.sample_paintings(2))
