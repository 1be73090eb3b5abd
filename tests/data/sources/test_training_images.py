"""Training images that lie in an object store."""

from __future__ import annotations

import pytest
import torch

from art2real.errors import UserError
from art2real.training.data import UnpairedImages
from tests.pictures import write_photos

SETTINGS = {"load_size": 36, "crop_size": 32, "flip": True, "batch_size": 2, "seed": 0}


def test_a_bucket_gives_the_batches_of_a_folder(bucket, tmp_path):
    write_photos(tmp_path / "x", 3, height=40, width=60)
    write_photos(tmp_path / "y", 5, height=60, width=40, seed=50)
    for path in sorted(tmp_path.rglob("*.jpg")):
        bucket.put(path.relative_to(tmp_path).as_posix(), path.read_bytes())
    bucket.put("y/broken.jpg", b"\xff\xd8\xff\xe0 no more")
    (tmp_path / "y" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    local = UnpairedImages(str(tmp_path / "x"), str(tmp_path / "y"), **SETTINGS)
    remote = UnpairedImages(bucket.uri("/x"), bucket.uri("/y"), **SETTINGS)
    for here, there in zip(local.batches(0, 9), remote.batches(0, 9), strict=True):
        assert all(torch.equal(one, other) for one, other in zip(here, there, strict=True))
    assert len(remote.broken) == 1


def test_a_bucket_without_images_is_refused(bucket, tmp_path):
    write_photos(tmp_path / "x", 1, height=40, width=60)
    bucket.put("y/readme.txt", b"nothing to see")
    with pytest.raises(UserError, match="none of its 1 files looks like an image"):
        UnpairedImages(str(tmp_path / "x"), bucket.uri("/y"), **SETTINGS)
