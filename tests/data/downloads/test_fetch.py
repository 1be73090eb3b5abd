"""Downloading over a real connection that breaks, stalls and lies."""

from __future__ import annotations

import http.client
import resource
import socket
import subprocess
import sys

import pytest

from art2real.data.downloads import fetch as fetching
from art2real.data.downloads.fetch import fetch
from art2real.data.downloads.part import Part
from art2real.errors import UserError
from tests.data.downloads.server import serve

BODY = bytes(range(256)) * 2000


@pytest.fixture
def server():
    with serve(BODY) as running:
        yield running


@pytest.fixture(autouse=True)
def impatience(monkeypatch):
    monkeypatch.setattr(fetching, "PAUSES", (0.0, 0.0, 0.0, 0.0))
    monkeypatch.setattr(fetching, "TIMEOUT", 0.5)
    monkeypatch.setenv("no_proxy", "*")


def get(server, folder, on_bytes=lambda done, total, note: None) -> bytes:
    part = Part(folder / ".a.zip.part", f"{server.url}/a.zip")
    fetch(part, on_bytes)
    assert part.complete
    return part.path.read_bytes()


def test_a_file_arrives_whole_and_says_how_far_it_is(server, tmp_path):
    seen = []
    assert get(server, tmp_path, lambda done, total, note: seen.append((done, total, note))) == BODY
    assert seen[-1] == (len(BODY), len(BODY), "")
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert server.ranges == [None]


def test_a_complete_part_asks_nothing(server, tmp_path):
    get(server, tmp_path)
    assert get(server, tmp_path) == BODY
    assert len(server.asked) == 1


def test_a_lost_connection_is_taken_up_at_its_byte(server, tmp_path):
    server.cuts = [1000, 1, 70_000]
    assert get(server, tmp_path) == BODY
    assert server.ranges == [None, "bytes=1000-", "bytes=1001-", "bytes=71001-"]


def test_losses_that_bring_bytes_do_not_count(server, tmp_path):
    server.cuts = [500] * 30
    assert get(server, tmp_path) == BODY
    assert len(server.asked) == 31


def test_losses_that_bring_nothing_end_it_and_keep_the_part(server, tmp_path):
    server.cuts = [1000] + [0] * 5
    with pytest.raises(UserError, match=r"lost again and again \(.*\); 1,000 bytes are kept, and the same"):
        get(server, tmp_path)
    assert server.ranges == [None] + ["bytes=1000-"] * 5
    assert get(server, tmp_path) == BODY
    assert server.ranges[-1] == "bytes=1000-"


def test_a_server_that_stalls_counts_as_lost(server, tmp_path):
    server.stall_at = 0
    with pytest.raises(UserError, match="timed out"):
        get(server, tmp_path)
    assert len(server.asked) == 5


def test_a_body_that_is_shorter_than_announced_is_lost(server, tmp_path):
    server.extra_length = 10
    server.knows_ranges = False
    with pytest.raises(UserError, match="512,000 of 512,010 bytes"):
        get(server, tmp_path)


def test_a_size_that_the_server_corrects_is_taken(server, tmp_path):
    server.extra_length = 10
    assert get(server, tmp_path) == BODY
    assert server.ranges == [None, f"bytes={len(BODY)}-"]


def test_a_server_without_ranges_begins_anew(server, tmp_path):
    server.cuts = [1000]
    server.knows_ranges = False
    assert get(server, tmp_path) == BODY
    assert server.ranges == [None, "bytes=1000-"]


def test_a_server_without_ranges_that_always_breaks_is_given_up(server, tmp_path):
    server.cuts = [1000] * 100
    server.knows_ranges = False
    with pytest.raises(UserError, match="again and again"):
        get(server, tmp_path)
    assert len(server.asked) == 6


@pytest.mark.parametrize("heeds", [True, False])
def test_a_file_that_has_changed_begins_anew(server, tmp_path, heeds):
    server.cuts = [1000] + [0] * 5
    with pytest.raises(UserError):
        get(server, tmp_path)
    server.body, server.etag, server.heeds_if_range = BODY[::-1], '"second"', heeds
    assert get(server, tmp_path) == BODY[::-1]


def test_a_file_without_a_mark_of_its_version_begins_anew(server, tmp_path):
    server.cuts = [1000]
    server.etag = None
    assert get(server, tmp_path) == BODY
    assert server.ranges == [None, None]


def test_a_part_of_another_address_begins_anew(server, tmp_path):
    server.cuts = [1000] + [0] * 5
    with pytest.raises(UserError):
        get(server, tmp_path)
    part = Part(tmp_path / ".a.zip.part", f"{server.url}/mirror/a.zip")
    fetch(part, lambda *_: None)
    assert part.path.read_bytes() == BODY
    assert server.asked[-1] == ("GET", "/mirror/a.zip", None)


@pytest.mark.parametrize("facts", ["", "{", "[]", "{}", '{"url": "U", "total": 3}'])
def test_a_part_whose_facts_are_damaged_begins_anew(server, tmp_path, facts):
    (tmp_path / ".a.zip.part").write_bytes(b"other")
    (tmp_path / ".a.zip.part.json").write_text(facts.replace("U", f"{server.url}/a.zip"))
    assert get(server, tmp_path) == BODY
    assert server.ranges == [None]


def test_a_file_of_unsaid_size_ends_with_its_connection(server, tmp_path):
    server.says_length = False
    assert get(server, tmp_path) == BODY
    assert Part(tmp_path / ".a.zip.part", f"{server.url}/a.zip").total == len(BODY)


def test_no_further_bytes_to_a_part_of_unsaid_size_completes_it(server, tmp_path):
    part = Part(tmp_path / ".a.zip.part", f"{server.url}/a.zip")
    headers = http.client.HTTPMessage()
    headers["ETag"] = server.etag
    part.begin(headers)
    part.append([BODY])
    assert get(server, tmp_path) == BODY
    assert server.ranges == [f"bytes={len(BODY)}-"]
    part.begin(headers)
    part.append([BODY, b"too much"])
    assert get(server, tmp_path) == BODY
    assert server.ranges[1:] == [f"bytes={len(BODY) + 8}-", None]


def test_a_part_of_unsaid_size_goes_on(server, tmp_path):
    part = Part(tmp_path / ".a.zip.part", f"{server.url}/a.zip")
    headers = http.client.HTTPMessage()
    headers["ETag"] = server.etag
    part.begin(headers)
    part.append([BODY[:10]])
    assert get(server, tmp_path) == BODY
    assert server.ranges == ["bytes=10-"]


@pytest.mark.parametrize("status", [403, 404, 416, 503])
def test_a_refusal_is_told_at_once(server, tmp_path, status):
    server.statuses = [status]
    with pytest.raises(UserError, match=f"/a.zip: the server answers with status {status} .*--from URL"):
        get(server, tmp_path)
    assert len(server.asked) == 1


def test_a_server_that_is_busy_for_a_while_is_asked_again(server, tmp_path):
    server.cuts = [1000]
    notes = []

    def refuse_once(done, total, note):
        if done == 1000 and not notes:
            server.statuses = [503]
        notes.append(note)

    assert get(server, tmp_path, refuse_once) == BODY
    assert "HTTP status 503; again in 0 s" in notes
    assert server.ranges == [None, "bytes=1000-", "bytes=1000-"]


def test_nobody_there_is_told_at_once_with_what_to_do(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/a.zip"
        with pytest.raises(UserError) as caught:
            fetch(Part(tmp_path / "p", url), lambda *_: None)
    assert str(caught.value) == (
        f"{url}: cannot be reached: Connection refused; use --from URL for a mirror, or unpack a.zip into "
        f"{tmp_path} yourself"
    )


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70, "127.0.0.1:70000", "[::1"])
def test_an_address_that_is_none_is_told(tmp_path, host):
    with pytest.raises(UserError, match=r"cannot be reached: .+; use --from"):
        fetch(Part(tmp_path / "p", f"http://{host}/a.zip"), lambda *_: None)


def test_a_server_that_speaks_no_http_is_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/a.zip"
        with pytest.raises(UserError, match="cannot be reached: timed out"):
            fetch(Part(tmp_path / "p", url), lambda *_: None)


def test_a_redirection_is_followed_with_its_range(server, tmp_path):
    server.cuts = [1000] + [0] * 5
    with pytest.raises(UserError):
        get(server, tmp_path)
    server.location = f"{server.url}/elsewhere/a.zip"
    assert get(server, tmp_path) == BODY
    assert server.asked[-1] == ("GET", "/elsewhere/a.zip", "bytes=1000-")


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://127.0.0.1/a.zip", "data:,x", "//[::1/a"])
def test_a_redirection_to_anything_but_http_is_refused(server, tmp_path, address):
    server.location = address
    with pytest.raises(
        UserError, match=r"status 302 \(Found, to where it is not followed\)|cannot be reached"
    ):
        get(server, tmp_path)


@pytest.mark.parametrize("says_length", [True, False])
def test_a_file_that_is_too_large_is_refused(server, tmp_path, monkeypatch, says_length):
    monkeypatch.setattr(fetching, "MAX_BYTES", len(BODY) - 1)
    server.says_length = says_length
    with pytest.raises(UserError, match="has more than 511,999 bytes"):
        get(server, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line_and_the_part_goes_on(server, tmp_path):
    """The process may write no more than 100,000 bytes into a file: the system's own refusal, at any byte."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from art2real.data.downloads.fetch import fetch\n"
        "from art2real.data.downloads.part import Part\n"
        "fetch(Part(Path(sys.argv[1]), sys.argv[2]), lambda *_: None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / ".a.zip.part"), f"{server.url}/a.zip"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        capture_output=True,
        text=True,
    )
    assert done.stderr.splitlines()[-1] == (
        f"art2real.errors.UserError: {tmp_path}/.a.zip.part: File too large; what has arrived is kept, and "
        "the same command goes on with it once that is mended"
    )
    assert (tmp_path / ".a.zip.part").stat().st_size == 100_000
    assert get(server, tmp_path) == BODY
    assert server.ranges == [None, "bytes=100000-"]
