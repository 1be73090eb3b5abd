"""Bytes of a memory bank: the arithmetic of `art2real.data.bank_files`, `bank_writer` and `bank_manifest`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from art2real.core.scale import Scale
from art2real.data.manifest import BankSettings
from art2real.plan.workload import per_image

# Columns of a stored square beside its pixels: id 16, hash 64, bytes 8, width, height and tile 4 each, place
# 12, five offsets of strings 20; and the name of its file, which is taken to be so long.
_SQUARE = 132
_NAME = 24
# Heads and feet of Arrow's files, and a photo's run in a table of patches.
_PHOTOS_FILE, _PATCHES_FILE, _RUN = 3_090, 1_194, 8
# JSON: of a task's record and for each of its sums beside its digits; of the manifest, for each value of a
# mean and each shard.
_RECORD, _SUM = 1_230, 5
_MANIFEST, _MEAN, _SHARD = 2_100, 26, 800


@dataclass(frozen=True)
class BankSize:
    """A bank's bytes and what they are for."""

    photos: int
    shards: int
    pixels: int
    """Bytes of pixels alone."""
    patches: int
    """Bytes of the tables of patches."""
    rest: int
    """Bytes of names, hashes, records and the manifest."""

    @property
    def bytes(self) -> int:
        return self.pixels + self.patches + self.rest


def bank_size(photos: int, size: int, scales: Sequence[Scale], photos_per_shard: int = 256) -> BankSize:
    """The bytes of a bank of `photos` cropped photos without its index.

    A stored square is 3 S^2 bytes; a patch 2 bytes for its place (4 where S > 256); a photo about 160 bytes
    of names and hashes, and 8 in each table of patches. Files and records add some kilobytes a shard.

    Args:
        size: S, pixels. photos_per_shard: files that one task turns into shards.
    """
    settings = BankSettings(image_size=size, scales=tuple(scales), photos_per_shard=photos_per_shard)
    per_task = min(photos, photos_per_shard)
    tasks = -(-photos // per_task)
    shards = tasks * -(-per_task // settings.squares_per_shard)
    place = 2 * np.min_scalar_type(size - 1).itemsize
    rows = sum(per_image(scale, size) for scale in scales)
    values = sum(scale.dimension for scale in scales)
    # A sum has as many digits as the patches of a task times a middle grey.
    sums = sum(
        scale.dimension * (_SUM + len(str(128 * per_task * per_image(scale, size)))) for scale in scales
    )
    return BankSize(
        photos=photos,
        shards=shards,
        pixels=3 * size * size * photos,
        patches=photos * (place * rows + _RUN * len(scales)) + _PATCHES_FILE * shards * len(scales),
        rest=photos * (_SQUARE + _NAME)
        + shards * (_PHOTOS_FILE + _SHARD)
        + tasks * (_RECORD + sums)
        + _MANIFEST
        + _MEAN * values,
    )
