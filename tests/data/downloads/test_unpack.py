"""Archives from strangers: what is unpacked, and what is refused before anything is written elsewhere."""

from __future__ import annotations

import io
import stat
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from art2real.data.downloads.unpack import ArchiveError, Limits, Member, unpack
from tests.data.downloads.server import contents, make_archive, unpacked

NAME = "monet2photo"


def zipped(*members, method=zipfile.ZIP_STORED) -> bytes:
    """A zip archive of (name or ZipInfo, content) pairs."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return packed.getvalue()


def open_up(folder, packed: bytes, **limits) -> dict[str, Member]:
    archive = folder / "archive.zip"
    archive.write_bytes(packed)
    return unpack(archive, NAME, folder / "target", lambda done, total: None, Limits(**limits))


def refused(folder, packed: bytes, reason: str, **limits) -> None:
    """It is refused for that reason, and nothing is written but in the target."""
    with pytest.raises(ArchiveError, match=reason):
        open_up(folder, packed, **limits)
    assert {path.name for path in folder.iterdir()} <= {"archive.zip", "target"}


def member(name: str, **facts) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o644 << 16
    for key, value in facts.items():
        setattr(info, key, value)
    return info


def test_a_good_archive_comes_out_byte_for_byte(tmp_path):
    packed = make_archive()
    files = open_up(tmp_path, packed)
    assert contents(tmp_path / "target") == unpacked(packed)
    assert files["trainA/00000.jpg"].bytes == 20_000
    assert set(files) == set(unpacked(packed))


def test_folders_need_no_members_of_their_own(tmp_path):
    open_up(tmp_path, zipped((f"{NAME}/a/b/c.jpg", b"c")))
    assert contents(tmp_path / "target") == {"a/b/c.jpg": b"c"}


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../outside",
        f"{NAME}/../../outside",
        f"{NAME}/..",
        f"{NAME}/./a",
        f"{NAME}//a",
        f"{NAME}",
        f"{NAME}\\a",
        f"{NAME}/a\\..\\b",
        f"{NAME}/a\0.jpg",
        "C:/a",
        "c:a",
        "other/a",
        f"{NAME}2/a",
        f"{NAME.upper()}/a",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name):
    # Written under a name of the same length first: the module that writes zip files mends some of these.
    innocent = "x" * len(name)
    packed = zipped((f"{NAME}/good", b"good"), (innocent, b"bad")).replace(innocent.encode(), name.encode())
    refused(tmp_path, packed, "is not the name of a file in monet2photo/")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR, stat.S_IFSOCK])
def test_links_and_special_files_are_refused(tmp_path, kind):
    info = member(f"{NAME}/link", external_attr=(kind | 0o777) << 16)
    refused(tmp_path, zipped((info, b"/etc/passwd")), "is a link or a special file")


def test_modes_of_the_archive_are_not_taken_over(tmp_path):
    info = member(f"{NAME}/a", external_attr=(stat.S_IFREG | 0o6777) << 16)
    open_up(tmp_path, zipped((info, b"a")))
    assert not (tmp_path / "target/a").stat().st_mode & 0o6111


def test_an_encrypted_member_is_refused(tmp_path):
    packed = bytearray(zipped((f"{NAME}/a", b"secret")))
    packed[packed.index(b"PK\1\2") + 8] |= 1
    refused(tmp_path, bytes(packed), "is encrypted")


def test_a_method_without_a_limit_is_refused(tmp_path):
    refused(tmp_path, zipped((f"{NAME}/a", b"abc"), method=zipfile.ZIP_BZIP2), "compressed in a way")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("twin", ["a.jpg", "A.JPG", "\u00e9", "E\u0301"])
def test_two_members_of_one_name_are_refused(tmp_path, twin):
    first = "a.jpg" if twin.lower() == "a.jpg" else "\u00e9"
    packed = zipped((f"{NAME}/{first}", b"1"), (f"{NAME}/{twin}", b"2"))
    refused(tmp_path, packed, "two members of the name")


def test_a_file_that_is_also_a_folder_is_refused(tmp_path):
    refused(tmp_path, zipped((f"{NAME}/a", b"1"), (f"{NAME}/a/b", b"2")), "'a' is a file and also a folder")


def test_an_archive_without_files_is_refused(tmp_path):
    refused(tmp_path, zipped((f"{NAME}/", b"")), "it has no files")


def test_too_many_members_are_refused(tmp_path):
    packed = zipped(*((f"{NAME}/{number}", b"") for number in range(4)))
    refused(tmp_path, packed, "it has 4 members, more than 3", members=3)


def test_more_bytes_than_the_limit_are_refused(tmp_path):
    refused(tmp_path, zipped((f"{NAME}/a", bytes(1001))), "unpack to 1,001", bytes=1000)


def test_a_bomb_is_refused_and_nothing_of_it_written(tmp_path):
    packed = zipped((f"{NAME}/a", bytes(10**7)), method=zipfile.ZIP_DEFLATED)
    assert len(packed) * 200 < 10**7
    refused(tmp_path, packed, "unpack to 10,000,000, which no set of images does")
    assert not (tmp_path / "target").exists()


def declare(packed: bytes, size: int) -> bytes:
    """The archive of one member, which now declares another size in both of its headers."""
    lie = bytearray(packed)
    for mark, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        start = lie.index(mark) + offset
        lie[start : start + 4] = size.to_bytes(4, "little")
    return bytes(lie)


@pytest.mark.parametrize("declared", [0, 10, 9_999_999])
def test_a_bomb_that_declares_less_writes_no_more_than_that(tmp_path, declared):
    packed = declare(zipped((f"{NAME}/a", bytes(10**7)), method=zipfile.ZIP_DEFLATED), declared)
    refused(tmp_path, packed, "CRC", ratio=10**6)
    assert (tmp_path / "target/a").stat().st_size <= declared


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_that_ends_before_its_size_is_refused(tmp_path, method):
    refused(tmp_path, declare(zipped((f"{NAME}/a", b"abc"), method=method), 5), "ends after 3 of 5 bytes")


@pytest.mark.parametrize("packed", [b"", b"<html>404</html>", make_archive()[:-30], make_archive()[60:]])
def test_what_is_no_whole_zip_archive_is_refused(tmp_path, packed):
    refused(tmp_path, packed, ".")


SMALL = make_archive(files=3, size=40)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SMALL) - 1), st.integers(1, 255), st.integers(0, 40))
def test_damage_anywhere_is_found_or_harmless(tmp_path_factory, place, change, cut):
    """Whatever happens to an archive: the same files come out, or an `ArchiveError`; never another error."""
    damaged = bytearray(SMALL)
    damaged[place] ^= change
    folder = tmp_path_factory.mktemp("damaged")
    try:
        open_up(folder, bytes(damaged[: len(damaged) - cut]))
    except ArchiveError:
        return
    found = contents(folder / "target")
    assert set(found.values()) <= set(unpacked(SMALL).values())
