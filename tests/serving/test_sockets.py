"""On a real server and bare sockets: what a client library would never send."""

from __future__ import annotations

import json
import socket
import time

import httpx
import numpy as np
import pytest

from tests.serving.made import Mirror, form, image_bytes, on_a_port, pixels_of, service


class Places:
    """Counts admitted requests."""

    def __init__(self):
        self.now, self.requests = 0, []

    def waiting(self, count):
        self.now = count

    def request(self, route, method, status, seconds):
        self.requests.append((route, status))

    def stage(self, name, seconds):
        pass


@pytest.fixture(scope="module")
def places():
    return Places()


@pytest.fixture(scope="module")
def port(places):
    with on_a_port(service(Mirror(), places, body_seconds=1.0)) as port:
        yield port


@pytest.fixture(autouse=True)
def good_before_and_after(port, places):
    yield
    painting = image_bytes()
    answer = httpx.post(f"http://127.0.0.1:{port}/v1/translate", content=painting, timeout=10)
    assert np.array_equal(pixels_of(answer.content), 255 - pixels_of(painting))
    until = time.monotonic() + 5
    while places.now and time.monotonic() < until:
        time.sleep(0.01)
    assert places.now == 0


def head(length=None, path="/v1/translate", *more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: image/png", *more]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def read(connection) -> tuple[int, dict]:
    """Status, and the error if it is one."""
    connection.settimeout(10)
    got = b""
    while b"\r\n\r\n" not in got:
        piece = connection.recv(65536)
        if not piece:
            break
        got += piece
    top, _, body = got.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in top.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return int(top.split()[1]), json.loads(body) if body.startswith(b'{"error"') else {}


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def test_100_mb_are_refused_before_the_first_byte(port):
    with connect(port) as connection:
        begun = time.perf_counter()
        connection.sendall(head(100_000_000))
        status, body = read(connection)
        assert (status, body["error"]["code"]) == (413, "too_many_bytes")
        assert time.perf_counter() - begun < 1


def test_who_asks_first_is_spared_the_sending(port):
    with connect(port) as connection:
        connection.sendall(head(100_000_000, "/v1/translate", "Expect: 100-continue"))
        assert read(connection)[0] == 413


def test_100_mb_in_chunks_are_refused_at_the_limit(port):
    chunk = b"%x\r\n" % 2**20 + bytes(2**20) + b"\r\n"
    with connect(port) as connection:
        connection.sendall(head(None, "/v1/translate", "Transfer-Encoding: chunked"))
        sent = 0
        connection.settimeout(0.2)
        try:
            for _ in range(100):
                connection.sendall(chunk)
                sent += 1
        except OSError:
            pass  # the server has stopped to take them
        status, body = read(connection)
        assert (status, body["error"]["code"]) == (413, "too_many_bytes")
        assert sent >= 32


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data; boundary=edge"])
def test_who_hangs_up_in_the_middle_leaves_no_trace(port, places, kind):
    body = form(image_bytes()) if "form" in kind else image_bytes()
    before = len(places.requests)
    for part in (0, len(body) // 2, len(body) - 1):
        with connect(port) as connection:
            connection.sendall(head(len(body)).replace(b"image/png", kind.encode()) + body[:part])
    until = time.monotonic() + 5
    while len(places.requests) < before + 3 and time.monotonic() < until:
        time.sleep(0.01)
    assert places.requests[before:] == [("/v1/translate", 499)] * 3


def test_a_body_that_stops_is_answered_and_the_connection_closed(port):
    with connect(port) as connection:
        connection.sendall(head(1000) + b"\x89PNG")
        status, body = read(connection)
        assert (status, body["error"]["code"]) == (408, "slow_body")
        assert connection.recv(10) == b""


@pytest.mark.parametrize(
    "path",
    [
        "/v1/translate/../../etc/passwd",
        "/v1/%2e%2e/%2e%2e/etc/passwd",
        "//evil.example/v1/translate",
        "/v1//translate",
        "/%00",
        "/v1/translate%0d%0aSet-Cookie:%20a=b",
        "/" + "x" * 5000,
    ],
)
def test_paths_that_lead_nowhere(port, path):
    with connect(port) as connection:
        connection.sendall(head(0, path))
        status, body = read(connection)
        assert (status, body["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("length", ["-1", "1e3", "10, 20", "0x10", ""])
def test_lengths_that_are_none(port, length):
    with connect(port) as connection:
        connection.sendall(head(length))
        connection.settimeout(5)
        assert connection.recv(100).split()[1] == b"400"


def test_the_same_connection_goes_on_after_errors(port):
    painting = image_bytes()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as ask:
        for body in (b"", b"x", painting[:50], painting):
            answer = ask.post("/v1/translate", content=body)
        assert answer.status_code == 200
