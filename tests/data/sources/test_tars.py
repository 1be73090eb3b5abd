"""WebDataset shards."""

from __future__ import annotations

import io
import tarfile
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from art2real.data.images import ImageLimits
from art2real.data.sources import open_source, read_entry
from art2real.data.sources.tar_members import DamagedTar, members
from art2real.errors import UsageError
from tests.data.sources.shards import shard_bytes, write_shard

KINDS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
FILES = {
    "000.jpg": b"first",
    "000.txt": b"words",
    "./sub/001.PNG": b"x" * 511,
    "sub/ünï.webp": b"y" * 512,
    "empty.gif": b"",
    "../../etc/002.jpg": b"z" * 1025,
}
LONG = {"l" * 90 + "/" + "m" * 90 + "/" + "n" * 90 + ".jpg": b"long", **FILES}


def read(content: bytes) -> tuple[list[tuple[str, bytes]], str | None]:
    """Members with their data, and what is wrong with the archive."""
    found = []
    try:
        for member in members(io.BytesIO(content), len(content)):
            found.append((member.name, content[member.offset : member.offset + member.bytes]))
    except DamagedTar as damage:
        return found, str(damage)
    return found, None


@pytest.mark.parametrize("kind", KINDS)
def test_members_are_what_tarfile_wrote(kind):
    files = FILES if kind == "ustar" else LONG
    assert read(shard_bytes(files, KINDS[kind])) == (list(files.items()), None)


@pytest.mark.parametrize("kind", KINDS)
def test_entries_can_be_read_where_they_lie(tmp_path, kind):
    write_shard(tmp_path / "s.tar", FILES, KINDS[kind])
    source = open_source(str(tmp_path / "s.tar"))
    entries = list(source.entries())
    images = {name: data for name, data in FILES.items() if not name.endswith(".txt")}
    assert [entry.source for entry in entries] == list(images)
    assert source.not_images == 1
    assert source.origin == str(tmp_path / "s.tar")
    for entry in entries:
        if entry.bytes:
            assert read_entry(entry, ImageLimits()) == images[entry.source]


def test_links_devices_folders_and_sparse_files_are_left_out():
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, kind in (
            ("hard.jpg", tarfile.LNKTYPE),
            ("soft.jpg", tarfile.SYMTYPE),
            ("device.jpg", tarfile.CHRTYPE),
            ("pipe.jpg", tarfile.FIFOTYPE),
            ("folder.jpg", tarfile.DIRTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        sparse = tarfile.TarInfo("sparse.jpg")
        sparse.size, sparse.pax_headers = 4, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        tar.addfile(sparse, io.BytesIO(b"data"))
        last = tarfile.TarInfo("last.jpg")
        last.size = 4
        tar.addfile(last, io.BytesIO(b"last"))
    assert read(content.getvalue()) == ([("last.jpg", b"last")], None)


def test_an_old_gnu_sparse_file_is_stepped_over():
    sparse = tarfile.TarInfo("sparse.jpg")
    sparse.size, sparse.type = 600, tarfile.GNUTYPE_SPARSE
    header = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
    header[482] = 1  # one more block of its map follows
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    content = bytes(header) + bytes(512) + b"s" * 600 + bytes(424) + shard_bytes({"last.jpg": b"last"})
    assert read(content) == ([("last.jpg", b"last")], None)


def test_a_size_beyond_eight_gigabytes_is_understood(tmp_path):
    big = tarfile.TarInfo("big.bin")
    big.size = 9 * 2**30
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        header = big.tobuf(kind)
        with (tmp_path / "big.tar").open("wb") as file:
            file.write(header)
            file.truncate(len(header) + big.size)  # a hole: no disk is used
            file.seek(0, 2)
            file.write(shard_bytes({"after.jpg": b"after"}))
        [entry] = open_source(str(tmp_path / "big.tar")).entries()
        assert (entry.source, read_entry(entry, ImageLimits())) == ("after.jpg", b"after")


@pytest.mark.parametrize("kind", KINDS)
def test_a_shard_cut_off_anywhere_gives_the_members_before_and_says_so(kind):
    files = {"a.jpg": b"a" * 700, "b" * 90 + "/b.jpg": b"B" * 10, "c.jpg": b"c" * 512}
    whole = shard_bytes(files, KINDS[kind])
    ends = {name: whole.find(data) + len(data) for name, data in files.items()}
    no_end_mark = -(-ends["c.jpg"] // 512) * 512
    for length in sorted(
        {*range(0, no_end_mark + 513, 128), *(ends[name] - 1 for name in ends), *ends.values()}
    ):
        found, damage = read(whole[:length])
        assert found == [(name, data) for name, data in files.items() if ends[name] <= length]
        assert (damage is None) == (length >= no_end_mark + 512), length


def test_damage_in_the_middle_is_named(tmp_path):
    content = bytearray(shard_bytes({"a.jpg": b"a", "b.jpg": b"b", "c.jpg": b"c"}, tarfile.USTAR_FORMAT))
    content[1024 + 150] ^= 1  # the checksum of b's header
    (tmp_path / "s.tar").write_bytes(content)
    source = open_source(str(tmp_path / "s.tar"))
    assert [entry.source for entry in source.entries()] == ["a.jpg"]
    assert source.unreadable == [("s.tar", "is damaged at byte 1024")]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"\x1f\x8b" * 600, "not an uncompressed tar"), (b"short", "ends in the middle")],
)
def test_what_is_no_tar_is_named(tmp_path, content, words):
    (tmp_path / "s.tar").write_bytes(content)
    source = open_source(str(tmp_path / "s.tar"))
    assert list(source.entries()) == []
    [(name, why)] = source.unreadable
    assert name == "s.tar"
    assert words in why


@pytest.mark.parametrize(
    "records",
    [b"junk", b"-5 path=x\n", b"9 path=x", b"99999 path=x\n", b"0 \n", b"11 size=-1\n", b"12 size=abc\n"],
)
def test_odd_pax_records_are_damage_and_no_crash(records):
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, len(records)
    block = header.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % 512)
    found, damage = read(block + shard_bytes({"a.jpg": b"a"}))
    assert found == []
    assert damage is not None and "is damaged at byte" in damage


@given(st.binary(max_size=2000), st.integers(0, 3000))
def test_hostile_bytes_never_crash(junk, at):
    content = bytearray(shard_bytes(FILES, tarfile.GNU_FORMAT))
    content[at : at + len(junk)] = junk
    found, _ = read(bytes(content))
    assert len(found) <= len(content) / 512


def test_memory_does_not_grow_with_the_members():
    content = shard_bytes({f"{number:06d}.jpg": b"" for number in range(4000)}, tarfile.USTAR_FORMAT)
    file = io.BytesIO(content)
    tracemalloc.start()
    count = sum(1 for _ in members(file, len(content)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 4000
    assert peak < 2**18


@pytest.mark.parametrize("name", ["s.tar.gz", "s.tgz", "s.zip", "S.TAR.BZ2"])
def test_packed_archives_are_refused(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(UsageError, match="unpack it or make it an uncompressed"):
        open_source(str(tmp_path / name))
