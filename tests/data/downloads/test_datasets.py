"""A set by name: what is recorded, compared, kept and begun anew."""

from __future__ import annotations

import fcntl
import hashlib
import json
from contextlib import contextmanager

import pytest

from art2real.data.downloads.datasets import DataSet
from art2real.errors import UsageError, UserError
from tests.data.downloads.server import contents, make_archive, serve, unpacked

NAME = "monet2photo"
ARCHIVE = make_archive()
SHA256 = hashlib.sha256(ARCHIVE).hexdigest()
OTHER = make_archive(files=7)


class Bar:
    """Calls `act` with what is done."""

    def __init__(self, act):
        self.act = act

    def update(self, done, total=None, note=""):
        self.act(done)


@contextmanager
def quiet(unit):
    yield Bar(lambda done: None)


def while_unpacking(act):
    """Stages of which that of unpacking calls `act` after each file."""

    @contextmanager
    def stage(unit):
        yield Bar(act if unit == "files unpacked" else lambda done: None)

    return stage


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with serve(ARCHIVE) as running:
        yield running


@pytest.fixture
def dataset(server, tmp_path):
    return DataSet(NAME, tmp_path / "sets", server.url + "/folder/")


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()} - {f".{NAME}.lock"}


def test_a_set_comes_to_its_folder_and_is_recorded(server, dataset):
    record = dataset.download(quiet)
    assert server.asked == [("GET", f"/folder/{NAME}.zip", None)]
    assert contents(dataset.folder) == unpacked(ARCHIVE)
    assert names(dataset.out) == {NAME, f"{NAME}.json"}
    assert (record.url, record.bytes, record.sha256) == (dataset.url, len(ARCHIVE), SHA256)
    assert dataset.record() == record
    facts = json.loads(dataset.record_file.read_text())
    assert facts["date"].endswith("+00:00")
    assert set(facts["files"]) == set(unpacked(ARCHIVE))


def test_a_set_that_is_there_is_not_touched(server, dataset):
    dataset.folder.mkdir(parents=True)
    with pytest.raises(UserError, match="is there already"):
        dataset.download(quiet)
    assert not server.asked


def test_the_archive_is_kept_if_asked_for(dataset):
    dataset.download(quiet, keep_archive=True)
    assert names(dataset.out) == {NAME, f"{NAME}.json", f"{NAME}.zip"}
    assert dataset.archive.read_bytes() == ARCHIVE


def test_an_archive_of_the_users_is_not_overwritten(server, dataset):
    dataset.out.mkdir()
    dataset.archive.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"monet2photo.zip: is there already"):
        dataset.download(quiet, keep_archive=True)
    assert not server.asked
    dataset.download(quiet)
    assert dataset.archive.read_bytes() == b"mine"


def test_another_archive_than_the_recorded_one_is_refused(server, dataset, tmp_path):
    first = dataset.download(quiet)
    dataset.folder.rename(tmp_path / "away")
    server.body = OTHER
    with pytest.raises(UserError) as caught:
        dataset.download(quiet)
    other = hashlib.sha256(OTHER).hexdigest()
    assert f"has SHA-256 {other}, not {SHA256} as {dataset.record_file}" in str(caught.value)
    assert names(dataset.out) == {f"{NAME}.json"}
    assert dataset.record() == first
    assert dataset.download(quiet, overwrite=True).sha256 == other
    assert contents(dataset.folder) == unpacked(OTHER)
    assert dataset.record().sha256 == other


def test_the_recorded_archive_is_accepted_from_anywhere(server, dataset, tmp_path):
    dataset.download(quiet)
    dataset.folder.rename(tmp_path / "away")
    mirror = DataSet(NAME, dataset.out, f"{server.url}/mirror")
    assert mirror.download(quiet).url == f"{server.url}/mirror/{NAME}.zip"


def test_a_given_hash_decides(server, dataset):
    with pytest.raises(UserError, match=f"has SHA-256 {SHA256}, not {'0' * 64} as --sha256 says"):
        dataset.download(quiet, sha256="0" * 64)
    assert not names(dataset.out)
    assert dataset.download(quiet, sha256=SHA256).sha256 == SHA256


def test_an_interrupted_unpacking_needs_no_second_download(server, dataset):
    def interrupt(done):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset.download(while_unpacking(interrupt))
    assert names(dataset.out) == {f".{NAME}.zip.part", f".{NAME}.zip.part.json"}
    (dataset.out / f".{NAME}.unpacking/trainA").mkdir(parents=True)  # as a killed process leaves it
    (dataset.out / f".{NAME}.unpacking/trainA/half.jpg").write_bytes(b"half")
    dataset.download(quiet)
    assert len(server.asked) == 1
    assert contents(dataset.folder) == unpacked(ARCHIVE)
    assert names(dataset.out) == {NAME, f"{NAME}.json"}


@pytest.mark.parametrize(
    "body",
    [b"<html>Please log in</html>", ARCHIVE[:-100], make_archive("other"), ARCHIVE.replace(b"x", b"y")],
)
def test_what_is_not_the_set_is_refused_and_leaves_nothing(server, dataset, body):
    server.body = body
    with pytest.raises(UserError, match=r"zip: the archive is not unpacked \(.+\) but removed"):
        dataset.download(quiet)
    assert not names(dataset.out)
    server.body = ARCHIVE
    dataset.download(quiet)


def test_a_second_download_at_the_same_time_is_refused(server, dataset):
    dataset.out.mkdir()
    with (dataset.out / f".{NAME}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is downloading it"):
            dataset.download(quiet)
    assert not server.asked
    dataset.download(quiet)


def test_damage_is_found_by_name(dataset):
    dataset.download(quiet)
    assert dataset.damaged(quiet) == []
    (dataset.folder / "trainA/00000.jpg").unlink()
    changed = dataset.folder / "trainB/00001.jpg"
    changed.write_bytes(bytes([changed.read_bytes()[0] ^ 1]) + changed.read_bytes()[1:])
    (dataset.folder / "trainB/more.jpg").write_bytes(b"of the user's")
    assert dataset.damaged(quiet) == ["trainA/00000.jpg", "trainB/00001.jpg"]


def test_without_a_record_nothing_can_be_verified(dataset):
    dataset.folder.mkdir(parents=True)
    with pytest.raises(UserError, match="no recorded download to verify"):
        dataset.damaged(quiet)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"files": []}', '{"files": {"a": 1}}', '{"files": null}']
)
def test_a_damaged_record_is_told(server, dataset, text):
    dataset.out.mkdir()
    dataset.record_file.write_text(text)
    with pytest.raises(UserError, match=r"monet2photo.json: is no record of a download"):
        dataset.download(quiet)
    assert not server.asked


def test_a_folder_that_cannot_be_made_is_told(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="Not a directory"):
        DataSet(NAME, tmp_path / "file/sets", server.url).download(quiet)


def test_a_disk_that_refuses_while_unpacking_keeps_the_archive(server, dataset):
    """Where a member's file belongs stands a folder: the system refuses, as it would on a full disk."""

    def block(done):
        (dataset.out / f".{NAME}.unpacking/trainB/00005.jpg").mkdir(parents=True, exist_ok=True)

    with pytest.raises(UserError, match="what has arrived is kept, and the same command goes on"):
        dataset.download(while_unpacking(block))
    assert names(dataset.out) == {f".{NAME}.zip.part", f".{NAME}.zip.part.json"}
    dataset.download(quiet)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "source",
    [
        "",
        "ftp://host/x",
        "file:///tmp",
        "host/x",
        "http://",
        "http://host:port/",
        "http://[::1/",
        "http://me:pw@host/",
        "http://host/a b",
        "http://h\u00f6st/",
        "http://host/?q=",
        "http://host/\n",
    ],
)
def test_a_source_that_is_no_web_folder_is_wrong_use(tmp_path, source):
    with pytest.raises(UsageError, match="--from"):
        DataSet(NAME, tmp_path, source)


def test_the_size_is_known_before(server, dataset):
    assert dataset.remote_bytes() == len(ARCHIVE)
    assert [method for method, _, _ in server.asked] == ["HEAD"]
    assert not dataset.out.exists()
