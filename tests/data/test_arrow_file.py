"""Files of a bank: their alignment, and what is written past the system's cache."""

from __future__ import annotations

import errno
import mmap
import os

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from art2real.data.arrow_file import PAGE, write_arrow
from art2real.data.bank_files import read_table
from art2real.data.checksums import file_xxh3


def table(names: list[str], width: int, *, page: bool) -> tuple[pa.RecordBatch, np.ndarray]:
    size = max(1, len(names) * width)
    memory = mmap.mmap(-1, size) if page else bytearray(size + 8)
    pixels = np.frombuffer(memory, np.uint8)[0 if page else 8 :][: len(names) * width]
    pixels[:] = np.random.default_rng(width).integers(0, 256, len(pixels))
    pixels = pixels.reshape(len(names), width)
    array = pa.FixedShapeTensorArray.from_numpy_ndarray(pixels)
    return pa.record_batch({"name": pa.array(names), "pixels": array}), pixels


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=9), st.integers(1, 3 * PAGE))
def test_content_survives_and_the_largest_buffer_begins_on_a_page(tmp_path_factory, names, width):
    bank = tmp_path_factory.mktemp("bank")
    written = []
    for page in (True, False):
        batch, pixels = table(names, width + PAGE, page=page)
        entry = write_arrow(bank, "photos/a.arrow", batch)
        content = (bank / entry.path).read_bytes()
        back = read_table(bank / entry.path)
        assert back["name"].to_pylist() == names
        assert np.array_equal(back["pixels"].to_numpy_ndarray(), pixels)
        assert content.find(pixels.tobytes()) % PAGE == 0
        assert entry.bytes == len(content)
        assert entry.checksum == file_xxh3(bank / entry.path)
        assert [path.name for path in (bank / "photos").iterdir()] == ["a.arrow"]
        written.append(content)
    # Where the pixels lay in memory, and so how they went to the disk, does not count.
    assert written[0] == written[1]


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="no way past the cache on this system")
@pytest.mark.parametrize("whole_pages", [0, 2])
def test_what_a_disk_refuses_to_take_directly_goes_through_the_cache(tmp_path, monkeypatch, whole_pages):
    import fcntl

    write = os.write
    direct: list[int] = []

    def refusing(file: int, content: memoryview) -> int:
        if not fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT:
            return write(file, content)
        direct.append(len(content))
        if len(direct) == 1 and whole_pages:
            return write(file, content[: whole_pages * PAGE])
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "write", refusing)
    batch, pixels = table(["a", "b", "c"], 3 * PAGE + 5, page=True)
    entry = write_arrow(tmp_path, "photos/a.arrow", batch)
    assert direct
    assert np.array_equal(read_table(tmp_path / entry.path)["pixels"].to_numpy_ndarray(), pixels)
    assert entry.checksum == file_xxh3(tmp_path / entry.path)


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="no way past the cache on this system")
def test_a_disk_that_is_full_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    def full(file: int, content: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    batch, _ = table(["a"], 2 * PAGE, page=True)
    with pytest.raises(OSError, match="No space left"):
        write_arrow(tmp_path, "photos/a.arrow", batch)
    assert list((tmp_path / "photos").iterdir()) == []
