from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import art2real.index.shares as shares
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.manifest import BankSettings
from art2real.index.shares import copies_share, plain_share
from tests.index.banks import NARROW, WIDE, make_bank


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> MemoryBank:
    """Three photos: a quarter of the first is plain, the second and the third all but one value."""
    folder = tmp_path_factory.mktemp("shares")
    (folder / "photos").mkdir()
    random = np.random.default_rng(0)
    for number, colour in enumerate([(200, 40, 90), (10, 20, 30), (10, 20, 30)]):
        photo = np.full((48, 48, 3), colour, np.uint8)
        photo[0, 0, 0] += number  # the second and the third photo differ in one value
        if number == 0:
            photo[:, :36] = random.integers(0, 256, (48, 36, 3))
        Image.fromarray(photo).save(folder / "photos" / f"{number}.png")
    settings = BankSettings(image_size=48, scales=(WIDE, NARROW), photos_per_shard=2)
    build_bank(folder / "photos", folder / "bank", settings)
    return MemoryBank.open(folder / "bank")


def test_a_patch_of_one_strong_colour_is_plain(bank: MemoryBank) -> None:
    assert bank.rows(NARROW) == 3 * 144
    assert plain_share(bank, NARROW) == pytest.approx((36 + 144 + 144) / (3 * 144))
    # A single value that is off by 2 in a patch of 48 values is little contrast, but some.
    assert plain_share(bank, NARROW, levels=0.1) == pytest.approx((36 + 143 + 143) / (3 * 144))
    assert plain_share(bank, NARROW, levels=0) == 0


def test_plainness_of_a_large_bank_is_sampled(bank: MemoryBank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "_SAMPLE", 100)
    share = plain_share(bank, NARROW)
    assert share == pytest.approx((36 + 144 + 144) / (3 * 144), abs=0.15)
    assert share * 100 == pytest.approx(round(share * 100))
    assert plain_share(bank, NARROW, seed=1) != share
    assert plain_share(bank, NARROW) == share


@pytest.mark.parametrize("block", [16384, 50])
def test_copies_are_counted_over_photos_and_blocks(
    bank: MemoryBank, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(shares, "_ROWS_PER_BLOCK", block)
    patches = bank.patches(NARROW, np.arange(bank.rows(NARROW)))
    distinct = len({patch.tobytes() for patch in patches})
    assert copies_share(bank, NARROW) == pytest.approx(1 - distinct / len(patches))


def test_photos_without_copies(tmp_path: Path) -> None:
    assert copies_share(make_bank(tmp_path, photos=4), WIDE) == 0


def test_a_part_of_the_checksums_tells_the_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    random = np.random.default_rng(1)
    for number in range(4):
        photo = random.integers(0, 256, (48, 48, 3), np.uint8)
        photo[:, 24:] = photo[:, :24]
        Image.fromarray(photo).save(tmp_path / "photos" / f"{number}.png")
    build_bank(tmp_path / "photos", tmp_path / "bank", BankSettings(image_size=48, scales=(NARROW,)))
    bank = MemoryBank.open(tmp_path / "bank")
    monkeypatch.setattr(shares, "_CHECKSUMS", 200)
    assert copies_share(bank, NARROW) == 0.5
