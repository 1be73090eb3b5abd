"""Sources in an object store: a real S3 server on the loopback interface."""

from __future__ import annotations

import http.server
import socket
import tarfile
import threading
import time
import urllib.request

import pytest

from art2real.data.images import BadImage, ImageLimits
from art2real.data.sources import open_source, read_entry, read_file
from art2real.errors import UserError
from tests.data.sources.shards import shard_bytes

LIMITS = ImageLimits(max_bytes=3_000_000)
ODD = ("a b.jpg", "a+b.jpg", "a?b#c.jpg", "100%25.jpg", "ünï/日本.jpg", "[1]/*.jpg", "q&r=s.jpg", "e@f:g.jpg")
GIF = b"GIF89a" + bytes(40)


def sources(text: str) -> list[str]:
    return [entry.source for entry in open_source(text).entries()]


def contents(text: str) -> dict[str, bytes]:
    return {entry.source: read_entry(entry, LIMITS) for entry in open_source(text).entries()}


def test_a_prefix_is_a_tree(bucket):
    keys = ("p/b/2.jpg", "p/b.jpg", "p/a/1.jpg", "p/a.jpg", "p/a-b.jpg", "p/b/c/3.PNG")
    for key in (*keys, "other/x.jpg", "p/words.txt", "p/b/table.csv"):
        bucket.put(key, key.encode())
    for text in (bucket.uri("/p"), bucket.uri("/p/")):
        assert contents(text) == {key[2:]: key.encode() for key in sorted(keys)}
        assert sources(text) == sorted(key[2:] for key in keys)
    source = open_source(bucket.uri("/p"))
    assert [entry.bytes for entry in source.entries()] == [len(key) for key in sorted(keys)]
    assert source.not_images == 2
    assert source.origin == f"s3://{bucket.name}/p"


def test_a_whole_bucket_is_a_tree(bucket):
    bucket.put("a.jpg", b"a")
    bucket.put("b/c.jpg", b"c")
    assert contents(bucket.uri()) == contents(bucket.uri("/")) == {"a.jpg": b"a", "b/c.jpg": b"c"}


def test_odd_keys_are_read_back(bucket):
    for key in ODD:
        bucket.put(key, key.encode())
    assert contents(bucket.uri()) == {key: key.encode() for key in ODD}


def test_a_name_may_be_a_file_and_a_folder(bucket):
    for key in ("a.jpg/b.jpg", "a.jpg", "a.jpg.jpg"):
        bucket.put_raw(key, key.encode())
    assert sources(bucket.uri()) == ["a.jpg", "a.jpg.jpg", "a.jpg/b.jpg"]


def test_keys_with_empty_names_are_named_and_do_not_go_in_circles(bucket):
    for key in ("x//y.jpg", "/lead.jpg", "x/fine.jpg"):
        bucket.put_raw(key, b"x")
    source = open_source(bucket.uri())
    assert [entry.source for entry in source.entries()] == ["x/fine.jpg"]
    assert [path for path, _ in source.unreadable] == [".", "x"]


def test_only_names_without_suffix_are_looked_into(bucket):
    bucket.put("photo", GIF)
    bucket.put("words", b"words")
    bucket.put("photo.data", GIF)
    source = open_source(bucket.uri())
    assert [entry.source for entry in source.entries()] == ["photo"]
    assert source.not_images == 2
    assert sources(bucket.uri("/*.data")) == ["photo.data"]


def test_patterns(bucket):
    for key in ("p/a/1.jpg", "p/a/b/2.jpg", "p/c/3.png", "p/[x]/4.jpg", "p/*/5.jpg", "q/6.jpg"):
        bucket.put(key, b"x")
    assert sources(bucket.uri("/p/*/*.jpg")) == ["*/5.jpg", "[x]/4.jpg", "a/1.jpg"]
    assert sources(bucket.uri("/**/*.png")) == ["p/c/3.png"]
    assert sources(bucket.uri("/p/[ac]/**")) == ["a/1.jpg", "a/b/2.jpg", "c/3.png"]
    assert sources(bucket.uri("/p/%5Bx%5D/*.jpg")) == ["4.jpg"]
    assert sources(bucket.uri("/p/**/%2A/*.jpg")) == ["*/5.jpg"]
    source = open_source(bucket.uri("/p/*.webp"))
    assert source.origin == f"s3://{bucket.name}/p/*.webp"
    with pytest.raises(UserError, match="nothing matches"):
        next(source.entries())


def test_shards(bucket):
    files = {"1.jpg": b"1" * 700, "1.json": b"{}", "2.jpg": b"2" * 1_500_000, "3.png": b"3"}
    images = {name: data for name, data in files.items() if not name.endswith("json")}
    whole = shard_bytes(files, tarfile.GNU_FORMAT)
    bucket.put("s/0.tar", whole)
    bucket.put("s/1.tar", whole[:4000])
    assert contents(bucket.uri("/s/0.tar")) == images
    source = open_source(bucket.uri("/s"))
    assert [entry.source for entry in source.entries()] == [
        *(f"0.tar/{name}" for name in images),
        "1.tar/1.jpg",
    ]
    assert source.unreadable == [("1.tar", "ends in the middle of 2.jpg")]


def test_lists_and_tables(bucket, tmp_path):
    for key in ("d/a b.jpg", "d/sub/c.jpg", "e.jpg", "m.png"):
        bucket.put(key, key.encode())
    elsewhere = bucket.uri("/e.jpg")
    bucket.put("d/l.txt", f"a b.jpg\nsub/c.jpg\n../e.jpg\n{elsewhere}\n".encode())
    bucket.put("d/t.csv", f"path,mask\na b.jpg,../m.png\n{elsewhere},\n".encode())
    expected = {
        "a b.jpg": b"d/a b.jpg",
        "sub/c.jpg": b"d/sub/c.jpg",
        "../e.jpg": b"e.jpg",
        elsewhere: b"e.jpg",
    }
    assert contents(bucket.uri("/d/l.txt")) == expected
    first, second = open_source(bucket.uri("/d/t.csv")).entries()
    assert (read_entry(first, LIMITS), read_entry(second, LIMITS)) == (b"d/a b.jpg", b"e.jpg")
    assert (read_file(first.mask, LIMITS), second.mask) == (b"m.png", None)
    (tmp_path / "l.txt").write_text(elsewhere)
    assert contents(str(tmp_path / "l.txt")) == {elsewhere: b"e.jpg"}


def test_the_endpoint_of_the_environment_travels_with_the_entries(bucket, monkeypatch):
    bucket.put("a.jpg", b"a")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{bucket.endpoint}")
    [entry] = open_source(f"s3://{bucket.name}").entries()
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert read_entry(entry, LIMITS) == b"a"


def test_limits(bucket):
    bucket.put("empty.jpg", b"")
    bucket.put("large.jpg", b"x" * 3_000_001)
    causes = {}
    for name in ("empty.jpg", "large.jpg", "gone.jpg"):
        with pytest.raises(BadImage) as error:
            read_file(bucket.uri("/" + name), LIMITS)
        causes[name] = error.value.cause
    assert causes == {"empty.jpg": "empty", "large.jpg": "too_many_bytes", "gone.jpg": "unreadable"}


@pytest.mark.parametrize("rest", ["", "/photos", "/photos/*.jpg", "/l.txt", "/t.parquet", "/t.csv", "/s.tar"])
def test_errors_are_one_line(bucket, rest):
    def message(text: str) -> str:
        with pytest.raises(UserError) as error:
            list(open_source(text).entries())
        assert "\n" not in str(error.value)
        assert "Request ID" not in str(error.value)
        return str(error.value)

    missing = bucket.uri(rest).replace(bucket.name, "no-such-bucket")
    assert message(missing).startswith("s3://no-such-bucket")
    # Of a single file the store does not say whether its bucket is there.
    words = "no such file" if rest.endswith(("txt", "parquet", "csv", "tar")) else "no such bucket"
    assert words in message(missing)
    if rest:
        assert "there is no such file or folder" in message(bucket.uri(rest).replace("photos/", "gone/"))


def test_denied_access_says_what_to_do(bucket):
    def credentials_matter_after(calls: str) -> None:
        request = urllib.request.Request(
            f"http://{bucket.endpoint}/moto-api/reset-auth",
            data=calls.encode(),
            headers={"Content-Type": "text/plain"},
            method="POST",
        )
        urllib.request.urlopen(request, timeout=10).close()

    bucket.put("a.jpg", b"a")
    [entry] = open_source(bucket.uri()).entries()
    credentials_matter_after("0")
    try:
        with pytest.raises(UserError, match="access denied; give credentials or --anonymous"):
            list(open_source(bucket.uri()).entries())
        with pytest.raises(BadImage, match="access denied") as error:
            read_entry(entry, LIMITS)
        assert error.value.cause == "unreadable"
    finally:
        credentials_matter_after("inf")


def test_a_server_that_is_not_there_is_named_within_seconds():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(
        UserError, match=r"^s3://bucket/p: cannot be reached: Could not connect.*; check"
    ) as error:
        list(open_source(f"s3://bucket/p?endpoint_override=127.0.0.1:{port}&scheme=http").entries())
    assert "\n" not in str(error.value)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("anonymous", [True, False])
def test_anonymous_requests_carry_no_credentials(s3_endpoint, anonymous):
    signed = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            signed.append("Authorization" in self.headers)
            self.send_error(403)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uri = f"s3://bucket/p?endpoint_override=127.0.0.1:{server.server_port}&scheme=http"
        with pytest.raises(UserError, match="access denied"):
            list(open_source(uri, anonymous=anonymous).entries())
        with pytest.raises(BadImage, match="access denied"):
            read_file(uri, LIMITS, anonymous)
        server.shutdown()
    assert set(signed) == {not anonymous}
