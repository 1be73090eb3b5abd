from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from art2real.core.scale import Scale
from art2real.data.bank_build import build_bank
from art2real.data.manifest import DEFAULT_SCALES, BankSettings
from art2real.plan.bank_size import bank_size
from tests.pictures import write_photos


@pytest.mark.parametrize(
    ("photos", "size", "scales", "per_shard"),
    [
        (30, 64, DEFAULT_SCALES, 256),
        (30, 64, DEFAULT_SCALES, 8),
        (12, 300, (Scale(16, 6),), 256),
        (60, 32, (Scale(8, 2), Scale(4, 4)), 20),
    ],
)
def test_it_is_what_a_built_bank_takes(
    tmp_path: Path, photos: int, size: int, scales: tuple[Scale, ...], per_shard: int
) -> None:
    write_photos(tmp_path / "photos", photos, height=size, width=size)
    settings = BankSettings(image_size=size, scales=scales, photos_per_shard=per_shard)
    built = build_bank(tmp_path / "photos", tmp_path / "bank", settings).manifest
    planned = bank_size(photos, size, scales, per_shard)
    files = [path for path in (tmp_path / "bank").rglob("*") if path.is_file()]
    assert planned.shards == len(built.shards)
    assert planned.bytes == pytest.approx(sum(path.stat().st_size for path in files), rel=0.01)
    # The pixels alone are to the byte what the arithmetic says.
    assert planned.pixels == 3 * size * size * photos


def test_squares_too_large_for_one_shard_of_a_task_are_counted(tmp_path: Path) -> None:
    side = 1024  # 21 squares a shard
    assert bank_size(256, side, (Scale(16, 16),)).shards == 13
    assert bank_size(21, side, (Scale(16, 16),)).shards == 1


@given(photos=st.integers(1, 10**6), times=st.integers(2, 1000))
def test_bytes_grow_with_photos_and_nearly_in_line(photos: int, times: int) -> None:
    one, many = (bank_size(count, 256, DEFAULT_SCALES).bytes for count in (photos, photos * times))
    assert one < many
    # What a bank has once, its manifest's head, is not there again.
    assert many <= times * one
    assert many >= times * (one - 250_000)


def test_it_is_linear_where_shards_are_full() -> None:
    few, many = (bank_size(256 * count, 256, DEFAULT_SCALES) for count in (1000, 1_000_000))
    assert many.bytes == pytest.approx(1000 * few.bytes, rel=1e-3)
