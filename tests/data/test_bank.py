"""Reading a bank: rows, patches and means against slices of the photos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art2real.core.patches import extract, flatten_pixels, to_signed
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.images import decode, square
from art2real.data.manifest import BankSettings
from art2real.errors import UserError
from tests.pictures import make_photo, write_photos

SCALES = (Scale(16, 6), Scale(8, 5), Scale(4, 4))


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> MemoryBank:
    """Seven photos in shards of three, three and one; shard by shard the grid is row-major."""
    folder = tmp_path_factory.mktemp("reader")
    write_photos(folder / "photos", 7, height=40, width=56)
    build_bank(
        folder / "photos", folder / "bank", BankSettings(image_size=36, scales=SCALES, photos_per_shard=3)
    )
    return MemoryBank.open(folder / "bank")


def pixels_of(bank: MemoryBank) -> np.ndarray:
    return np.stack([photo.pixels for photo in bank.photos])


def test_photos_are_what_the_decoder_gives(bank):
    assert len(bank.photos) == 7
    for number, photo in enumerate(bank.photos):
        path = bank.path.parent / "photos" / photo.source
        assert photo.source == f"photo-{number:03d}.jpg"
        assert (photo.width, photo.height) == (56, 40)
        assert photo.id == photo.sha256[:16]
        assert photo.licence is photo.attribution is None
        assert np.array_equal(photo.pixels, square(decode(path), 36))
    assert bank.photos[-1].source == "photo-006.jpg"
    assert [photo.source for photo in bank.photos[2:4]] == ["photo-002.jpg", "photo-003.jpg"]
    with pytest.raises(IndexError):
        bank.photos[7]


def test_shards_and_their_rows(bank):
    assert [shard.photos for shard in bank.shards] == [3, 3, 1]
    assert len({shard.identity for shard in bank.shards}) == 3
    for scale in SCALES:
        rows, columns = scale.grid(36, 36)
        grid = rows * columns
        assert bank.rows(scale) == 7 * grid
        assert bank.shard_rows(scale) == [
            range(3 * grid),
            range(3 * grid, 6 * grid),
            range(6 * grid, 7 * grid),
        ]


@pytest.mark.parametrize("scale", SCALES)
def test_rows_are_in_the_order_of_extract(bank, scale):
    images = torch.from_numpy(pixels_of(bank).transpose(0, 3, 1, 2).copy())
    expected = extract(to_signed(images), scale.size, scale.stride).reshape(-1, scale.dimension)
    rows = np.arange(bank.rows(scale))
    assert torch.equal(torch.from_numpy(bank.vectors(scale, rows)), expected)
    assert torch.equal(to_signed(torch.from_numpy(flatten_pixels(bank.patches(scale, rows)))), expected)
    blocks = list(bank.blocks(scale, rows_per_block=1000))
    assert {len(block) for block in blocks[:-1]} <= {1000}
    assert np.array_equal(np.concatenate(blocks), expected.numpy())


@pytest.mark.parametrize("scale", SCALES)
def test_the_mean_is_the_mean_of_all_rows(bank, scale):
    exact = bank.patches(scale, np.arange(bank.rows(scale))).astype(np.float64).mean(0)
    expected = exact.transpose(2, 0, 1).ravel() * 2 / 255 - 1
    mean = bank.mean(scale)
    assert mean.dtype == np.float32
    assert np.abs(mean - expected).max() < 1e-6


@given(data=st.data(), scale=st.sampled_from(SCALES))
@settings(max_examples=60, deadline=None)
def test_patches_and_places_against_slices(bank, data, scale):
    rows = data.draw(st.lists(st.integers(0, bank.rows(scale) - 1), max_size=40))
    photo, y, x = bank.locate(scale, np.array(rows, np.int64))
    pixels = pixels_of(bank)
    expected = [
        pixels[p, top : top + scale.size, left : left + scale.size]
        for p, top, left in zip(photo, y, x, strict=True)
    ]
    patches = bank.patches(scale, np.array(rows, np.int64))
    assert patches.shape == (len(rows), scale.size, scale.size, 3)
    assert all(np.array_equal(patch, slice_) for patch, slice_ in zip(patches, expected, strict=True))
    down, across = scale.grid(36, 36)
    assert photo.dtype == y.dtype == x.dtype == np.int64
    assert rows == ((photo * down + y // scale.stride) * across + x // scale.stride).tolist()


@given(
    side=st.integers(8, 40),
    size=st.integers(1, 8),
    stride=st.integers(1, 9),
    photos=st.integers(1, 5),
    per_shard=st.integers(1, 5),
)
@settings(max_examples=25, deadline=None)
def test_any_grid_and_any_sharding(tmp_path_factory, side, size, stride, photos, per_shard):
    folder = tmp_path_factory.mktemp("any")
    scale = Scale(size, stride)
    write_photos(folder / "photos", photos, height=16, width=20)
    chosen = BankSettings(image_size=side, scales=(scale,), photos_per_shard=per_shard)
    build_bank(folder / "photos", folder / "bank", chosen)
    bank = MemoryBank.open(folder / "bank")
    images = torch.from_numpy(pixels_of(bank).transpose(0, 3, 1, 2).copy())
    expected = extract(to_signed(images), size, stride).reshape(-1, scale.dimension)
    assert torch.equal(torch.from_numpy(bank.vectors(scale, np.arange(bank.rows(scale)))), expected)
    assert np.abs(bank.mean(scale) - expected.double().mean(0).numpy()).max() < 1e-6


def test_the_mean_and_input_hash_do_not_depend_on_sharding(tmp_path):
    write_photos(tmp_path / "photos", 7, height=20, width=20)
    summaries = [
        build_bank(
            tmp_path / "photos",
            tmp_path / f"bank{count}",
            BankSettings(image_size=20, scales=(Scale(8, 5),), photos_per_shard=count),
        )
        for count in (1, 2, 7)
    ]
    assert len({summary.manifest.scales for summary in summaries}) == 1
    assert len({summary.manifest.input_sha256 for summary in summaries}) == 1
    assert len({summary.manifest.identity for summary in summaries}) == 3


def test_mapped_photos_are_not_copied_and_not_writable(bank):
    pixels = bank.photos[0].pixels
    assert not pixels.flags.writeable
    assert np.shares_memory(pixels, bank.photos[0].pixels)


def test_photos_larger_than_a_byte_counts(tmp_path):
    write_photos(tmp_path / "photos", 1, height=300, width=300)
    scale = Scale(16, 6)
    build_bank(tmp_path / "photos", tmp_path / "bank", BankSettings(image_size=300, scales=(scale,)))
    bank = MemoryBank.open(tmp_path / "bank")
    _, y, x = bank.locate(scale, np.array([bank.rows(scale) - 1]))
    assert (y[0], x[0]) == (282, 282)


def test_files_open_with_plain_pyarrow(bank):
    """Without this package: the file format is the contract."""
    with pa.memory_map(str(bank.path / "photos/part-00000.arrow")) as file:
        photos = pa.ipc.open_file(file).read_all()
    with pa.memory_map(str(bank.path / "patches/16x16s6/part-00000.arrow")) as file:
        patches = pa.ipc.open_file(file).read_all()
    assert photos.column_names == [
        "id", "source", "sha256", "bytes", "width", "height", "tile", "crop_x", "crop_y", "crop_side",
        "licence", "attribution", "pixels",
    ]  # fmt: skip
    assert patches.column_names == ["photo", "y", "x"]
    assert patches.schema.field("photo").type == pa.run_end_encoded(pa.int32(), pa.int32())
    assert patches.schema.field("y").type == patches.schema.field("x").type == pa.uint8()
    assert photos.num_rows == 3
    [chunk] = photos["pixels"].chunks
    pixels = chunk.to_numpy_ndarray()
    assert pixels.shape == (3, 36, 36, 3)
    row = 20
    photo = pa.compute.run_end_decode(patches["photo"].chunk(0))[row].as_py()
    y, x = patches["y"][row].as_py(), patches["x"][row].as_py()
    expected = bank.patches(Scale(16, 6), np.array([row]))[0]
    assert np.array_equal(pixels[photo, y : y + 16, x : x + 16], expected)


# What is refused


@pytest.mark.parametrize("rows", [[-1], [10**9], [0, 1, -5]])
def test_rows_outside_the_bank(bank, rows):
    for method in (bank.patches, bank.vectors, bank.locate):
        with pytest.raises(IndexError):
            method(Scale(8, 5), np.array(rows))


def test_an_unknown_scale(bank):
    with pytest.raises(UserError, match="has no scale 5:5, only 16:6, 8:5, 4:4"):
        bank.rows(Scale(5, 5))


def copy_of(bank: MemoryBank, folder: Path) -> Path:
    import shutil

    return Path(shutil.copytree(bank.path, folder / "bank"))


def test_an_unknown_format_version(bank, tmp_path):
    path = copy_of(bank, tmp_path)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "format_version": 99}))
    with pytest.raises(UserError, match="format version 99 of memory banks is not known"):
        MemoryBank.open(path)


@pytest.mark.parametrize(
    "edit", [lambda text: text[:-100], lambda text: text.replace('"photos": 7', '"photos": 8')]
)
def test_a_damaged_manifest(bank, tmp_path, edit):
    path = copy_of(bank, tmp_path)
    text = (path / "manifest.json").read_text()
    assert edit(text) != text
    (path / "manifest.json").write_text(edit(text))
    with pytest.raises(UserError, match="damaged"):
        MemoryBank.open(path)


def test_no_bank(tmp_path):
    with pytest.raises(UserError, match="not a memory bank"):
        MemoryBank.open(tmp_path)


@pytest.mark.parametrize(
    "damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"ARROW1\0\0 no more")]
)
def test_a_missing_or_broken_file_is_named(bank, tmp_path, damage):
    path = copy_of(bank, tmp_path)
    damage(path / "photos/part-00001.arrow")
    reader = MemoryBank.open(path)
    assert reader.photos[0].source == "photo-000.jpg"
    with pytest.raises(UserError, match=r"photos/part-00001\.arrow: (missing|damaged)"):
        reader.photos[3]


def test_photos_of_another_size_are_refused(bank, tmp_path):
    """Patches are windows over raw memory: a smaller photo would be read beyond its end."""
    path = copy_of(bank, tmp_path)
    small = BankSettings(image_size=20, scales=(Scale(8, 5),), photos_per_shard=3)
    build_bank(bank.path.parent / "photos", tmp_path / "small", small)
    (tmp_path / "small/photos/part-00000.arrow").replace(path / "photos/part-00000.arrow")
    with pytest.raises(UserError, match=r"part-00000\.arrow: holds no photos of this bank"):
        MemoryBank.open(path).patches(Scale(8, 5), np.array([0]))


def test_many_shards_do_not_use_up_file_handles(tmp_path):
    import resource

    write_photos(tmp_path / "photos", 40, height=16, width=16)
    scales = (Scale(8, 5), Scale(4, 4))
    build_bank(
        tmp_path / "photos",
        tmp_path / "bank",
        BankSettings(image_size=16, scales=scales, photos_per_shard=1),
    )
    bank = MemoryBank.open(tmp_path / "bank")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(in_use + 20, soft), hard))
    try:
        for scale in scales:
            assert len(bank.patches(scale, np.arange(bank.rows(scale)))) == bank.rows(scale)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_threads_may_share_a_bank(bank):
    from concurrent.futures import ThreadPoolExecutor

    fresh = MemoryBank.open(bank.path)
    scale = Scale(8, 5)
    rows = np.arange(bank.rows(scale))[::-1]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: fresh.patches(scale, rows), range(16)))
    assert all(np.array_equal(result, bank.patches(scale, rows)) for result in results)


def test_make_photo_differs(bank):
    """The reader tests above would prove little on equal photos."""
    assert not np.array_equal(make_photo(0), make_photo(1))
    assert len({photo.sha256 for photo in bank.photos}) == 7
