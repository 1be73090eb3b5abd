"""The picture of a bank shows photos and patches that are in it, in their own pixels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.contact_sheet import draw_sheet
from art2real.data.manifest import BankSettings
from art2real.data.pictures import save_picture
from art2real.errors import UserError
from tests.pictures import write_photos

WIDE = Scale(16, 6)


def make_bank(folder, *, photos=1, size=16, scales=(WIDE,), name="bank", photos_per_shard=4):
    write_photos(folder / "photos", photos, height=max(size, 16), width=max(size, 16))
    settings = BankSettings(image_size=size, scales=scales, photos_per_shard=photos_per_shard)
    build_bank(folder / "photos", folder / name, settings)
    return MemoryBank.open(folder / name)


def places(sheet, picture):
    """(y, x) of every exact copy of one array in another."""
    height, width = picture.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(sheet, picture.shape)[..., 0, :, :, :]
    found = np.ones(windows.shape[:2], bool)
    for y, x in ((0, 0), (height // 2, width // 2), (height - 1, width - 1), (0, width - 1)):
        found &= (windows[:, :, y, x] == picture[y, x]).all(axis=2)
    return [(y, x) for y, x in np.argwhere(found).tolist() if (windows[y, x] == picture).all()]


def enlarged(pixels, times):
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


class CountingBank(MemoryBank):
    """A bank that counts the patches that are read from it."""

    read = 0

    def patches(self, scale, rows):
        self.read += len(rows)
        return super().patches(scale, rows)


def test_a_bank_of_one_photo_with_one_patch(tmp_path):
    bank = make_bank(tmp_path)
    sheet = np.array(draw_sheet(bank))
    photo = bank.photos[0].pixels
    [(top, left)] = places(
        sheet, np.array(Image.fromarray(photo).resize((100, 100), Image.Resampling.LANCZOS))
    )
    # The only patch is the whole photo, and its own mean.
    [mean] = places(sheet, enlarged(photo, 6))
    [patch] = [place for place in places(sheet, enlarged(photo, 3)) if place != mean]
    assert mean[1] == left
    assert patch[0] == mean[0] > top


def test_patches_are_those_of_the_bank_and_no_two_the_same(tmp_path):
    scale = Scale(8, 4)
    bank = make_bank(tmp_path, photos=2, scales=(scale,))
    patches = bank.patches(scale, np.arange(18))
    sheet = np.array(draw_sheet(bank))
    shown = [places(sheet, enlarged(pixels, 6)) for pixels in patches]
    assert [len(each) for each in shown] == [1] * 18  # so few are all shown
    mean = np.rint(patches.mean(axis=0)).astype(np.uint8)
    [(y, x)] = places(sheet, enlarged(mean, 12))
    assert y == min(top for [(top, _)] in shown)
    assert x < min(left for [(_, left)] in shown)


def test_the_seed_chooses(tmp_path):
    bank = make_bank(tmp_path, photos=45, size=32)
    sheets = [np.array(draw_sheet(bank, seed=seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(sheets[0], sheets[1])
    assert (sheets[0] != sheets[2]).any()


def test_only_what_is_drawn_is_read(tmp_path):
    path = make_bank(tmp_path, photos=60, size=32, scales=(Scale(4, 1),), photos_per_shard=1).path
    bank = CountingBank.open(path)
    draw_sheet(bank)
    assert bank.rows(Scale(4, 1)) == 60 * 29 * 29
    assert 50 < bank.read <= 120


@pytest.mark.parametrize("size", [1, 3, 5, 13, 32, 47, 70, 150])
def test_margins_stay_free_whatever_the_size_of_the_patches(tmp_path, size):
    bank = make_bank(tmp_path, photos=2, size=160, scales=(Scale(size, 7), WIDE))
    sheet = draw_sheet(bank)
    ink = np.array(sheet) != 255
    rows, columns = ink.any(axis=(1, 2)).nonzero()[0], ink.any(axis=(0, 2)).nonzero()[0]
    assert sheet.width == 1100
    assert (columns[0], columns[-1]) in [(31, 1068), (32, 1068)]
    assert rows[0] >= 32
    assert 30 <= sheet.height - 1 - rows[-1] <= 34


def test_a_bank_of_tiles_shows_tiles(tmp_path):
    write_photos(tmp_path / "photos", 1, height=32, width=64)
    settings = BankSettings(image_size=32, scales=(WIDE,), fit="tile")
    build_bank(tmp_path / "photos", tmp_path / "bank", settings)
    bank = MemoryBank.open(tmp_path / "bank")
    sheet = np.array(draw_sheet(bank))
    small = [
        Image.fromarray(square.pixels).resize((100, 100), Image.Resampling.LANCZOS) for square in bank.photos
    ]
    [[(_, first)], [(_, second)]] = [places(sheet, np.array(each)) for each in small]
    assert second - first == 104


@pytest.mark.parametrize("name", ["two\nlines", "絵", "w" * 200])
def test_odd_names_fit(tmp_path, name):
    plain = draw_sheet(make_bank(tmp_path / "plain"))
    odd = draw_sheet(make_bank(tmp_path / "odd", name=name))
    assert odd.size == plain.size
    ink = np.array(odd) != 255
    assert not ink[:, 1070:].any()
    np.testing.assert_array_equal(np.array(odd)[70:], np.array(plain)[70:])


def test_a_damaged_shard_is_named(tmp_path):
    bank = make_bank(tmp_path)
    [photos] = (bank.path / "photos").iterdir()
    photos.write_bytes(b"no arrow")
    with pytest.raises(UserError, match=photos.name):
        draw_sheet(bank)


def test_a_picture_is_saved_whole_or_not_at_all(tmp_path):
    picture = Image.new("RGB", (5, 4), (1, 2, 3))
    save_picture(picture, tmp_path / "new" / "bank.png")
    with Image.open(tmp_path / "new" / "bank.png") as read:
        assert (read.format, read.size, read.getpixel((0, 0))) == ("PNG", (5, 4), (1, 2, 3))
    (tmp_path / "new" / "folder.png").mkdir()
    with pytest.raises(UserError, match=r"picture .*folder\.png cannot be written"):
        save_picture(picture, tmp_path / "new" / "folder.png")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["bank.png", "folder.png"]
