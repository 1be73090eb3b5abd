"""Banks of whole photos in tiles, and of photos with class masks and licences."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.bank_verify import verify
from art2real.data.manifest import BankSettings
from tests.pictures import make_photo, write_photos

SCALES = (Scale(16, 6), Scale(4, 4))
UNSCALED = BankSettings(image_size=32, scales=SCALES, photos_per_shard=4, resize=False)
TILES = UNSCALED.model_copy(update={"fit": "tile", "tile_stride": 20})


def write_pngs(folder: Path, shapes: list[tuple[int, int]]) -> list[np.ndarray]:
    folder.mkdir()
    photos = [make_photo(number, *shape) for number, shape in enumerate(shapes)]
    for number, pixels in enumerate(photos):
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return photos


def test_every_tile_is_a_square_of_the_photo(tmp_path):
    photos = write_pngs(tmp_path / "photos", [(60, 99), (32, 32), (40, 31), (120, 33), (75, 75)])
    manifest = build_bank(tmp_path / "photos", tmp_path / "bank", TILES).manifest
    bank = MemoryBank.open(tmp_path / "bank")
    # 2 x 4, 1 x 1, none (31 is below 32), 5 x 1, 3 x 3.
    assert [photo.source for photo in bank.photos] == ["00.png"] * 8 + ["01.png"] + ["03.png"] * 5 + [
        "04.png"
    ] * 9
    assert (manifest.photos, manifest.squares, manifest.skipped_by_cause) == (4, 23, {"too_small": 1})
    for photo in bank.photos:
        x, y = int(photo.crop_x), int(photo.crop_y)
        original = photos[int(photo.source[:2])]
        assert (photo.height, photo.width) == original.shape[:2]
        np.testing.assert_array_equal(photo.pixels, original[y : y + 32, x : x + 32])
    assert [photo.tile for photo in bank.photos][:9] == [*range(8), 0]
    for scale in SCALES:
        vectors = np.concatenate(list(bank.blocks(scale)))
        np.testing.assert_allclose(bank.mean(scale), vectors.mean(0, dtype=np.float64), atol=1e-6)


def test_a_large_photo_fills_several_shards(tmp_path, monkeypatch):
    write_pngs(tmp_path / "photos", [(100, 100), (100, 100), (40, 40)])
    monkeypatch.setattr("art2real.data.manifest._SHARD_BYTES", 7 * 3 * 32 * 32)
    manifest = build_bank(tmp_path / "photos", tmp_path / "bank", TILES).manifest
    assert [(shard.name, shard.photos) for shard in manifest.shards] == [
        ("part-00000", 7), ("part-00000-001", 7), ("part-00000-002", 7), ("part-00000-003", 7),
        ("part-00000-004", 5),
    ]  # fmt: skip
    assert (manifest.photos, manifest.squares) == (3, 33)
    build_bank(tmp_path / "photos", tmp_path / "whole", TILES)
    one, many = MemoryBank.open(tmp_path / "whole"), MemoryBank.open(tmp_path / "bank")
    for scale in SCALES:
        rows = np.arange(one.rows(scale))
        np.testing.assert_array_equal(one.patches(scale, rows), many.patches(scale, rows))
    assert one.manifest.scales == many.manifest.scales


def test_a_copy_of_a_photo_in_tiles_is_dropped_from_all_its_shards(tmp_path, monkeypatch):
    write_pngs(tmp_path / "photos", [(100, 100), (100, 99), (60, 60)])
    copy = (tmp_path / "photos/00.png").read_bytes()
    monkeypatch.setattr("art2real.data.manifest._SHARD_BYTES", 7 * 3 * 32 * 32)
    build_bank(tmp_path / "photos", tmp_path / "alone", TILES)
    (tmp_path / "photos/01a.png").write_bytes(copy)
    manifest = build_bank(tmp_path / "photos", tmp_path / "bank", TILES).manifest
    alone, bank = MemoryBank.open(tmp_path / "alone"), MemoryBank.open(tmp_path / "bank")
    assert manifest.skipped_by_cause == {"duplicate": 1}
    assert manifest.photos == 3
    assert [(photo.source, photo.tile) for photo in bank.photos] == [
        (photo.source, photo.tile) for photo in alone.photos
    ]
    assert bank.manifest.scales == alone.manifest.scales
    assert verify(tmp_path / "bank") == []


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Photos of 40 x 50, the left 25 pixels of class 7; the second has no mask, the fourth a wrong one."""
    write_photos(tmp_path / "photos", 6, height=40, width=50)
    mask = np.zeros((40, 50), np.uint8)
    mask[:, :25] = 7
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(mask[:20]).save(tmp_path / "wrong.png")
    masks = ["mask.png", "", "mask.png", "wrong.png", "gone.png", "mask.png"]
    with (tmp_path / "photos.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["path", "licence", "attribution", "mask"])
        for number, name in enumerate(masks):
            licence = "CC0-1.0" if number else ""
            lines.writerow([f"photos/photo-{number:03d}.jpg", licence, f"Photographer {number}", name])
    return tmp_path / "photos.csv"


def test_licences_and_classes_are_carried_into_the_bank(table, tmp_path):
    manifest = build_bank(table, tmp_path / "bank", UNSCALED).manifest
    assert manifest.skipped_by_cause == {"bad_mask": 2}
    bank = MemoryBank.open(tmp_path / "bank")
    assert [photo.source for photo in bank.photos] == [
        f"photos/photo-00{number}.jpg" for number in (0, 1, 2, 5)
    ]
    assert [photo.licence for photo in bank.photos] == [None, "CC0-1.0", "CC0-1.0", "CC0-1.0"]
    assert bank.photos[3].attribution == "Photographer 5"
    for scale in SCALES:
        rows = np.arange(bank.rows(scale))
        photo, _, x = bank.locate(scale, rows)
        # The crop begins at column 9, so class 7 ends at column 16 of the square.
        covered = np.clip(16 - x, 0, scale.size) * 2 >= scale.size
        np.testing.assert_array_equal(bank.classes(scale, rows), np.where(covered & (photo != 1), 7, 0))


def test_classes_survive_the_dropping_of_copies(table, tmp_path):
    build_bank(table, tmp_path / "alone", UNSCALED)
    (tmp_path / "photos/photo-001.jpg").write_bytes((tmp_path / "photos/photo-000.jpg").read_bytes())
    build_bank(table, tmp_path / "bank", UNSCALED)
    alone, bank = MemoryBank.open(tmp_path / "alone"), MemoryBank.open(tmp_path / "bank")
    for scale in SCALES:
        each = len(scale.positions(32, 32)[0])
        rows = np.arange(bank.rows(scale))
        kept = np.concatenate([np.arange(each), np.arange(2 * each, 4 * each)])
        np.testing.assert_array_equal(bank.classes(scale, rows), alone.classes(scale, kept))
        assert bank.classes(scale, rows).any()


def test_a_bank_without_masks_has_no_classes(tmp_path):
    write_photos(tmp_path / "photos", 2)
    build_bank(tmp_path / "photos", tmp_path / "bank", UNSCALED)
    bank = MemoryBank.open(tmp_path / "bank")
    assert not bank.classes(SCALES[0], np.arange(5)).any()
