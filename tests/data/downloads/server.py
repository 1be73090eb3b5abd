"""A web server on the loopback interface that serves one archive, as well or as badly as a test wants."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np


class ArchiveServer(ThreadingHTTPServer):
    """Answers every path with `body`; what was asked for is in `asked`."""

    daemon_threads = True

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body = body
        self.etag: str | None = '"first"'
        self.asked: list[tuple[str, str, str | None]] = []
        """Method, path and `Range` of each request."""
        self.cuts: list[int] = []
        """Bytes after which the next connections break, one number a connection."""
        self.stall_at: int | None = None
        """Bytes after which the server says no more but keeps the connection."""
        self.knows_ranges = True
        self.heeds_if_range = True
        self.says_length = True
        self.extra_length = 0
        self.statuses: list[int] = []
        """Refusals of the next requests."""
        self.location: str | None = None
        """Where the next request is sent on to."""
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def ranges(self) -> list[str | None]:
        return [asked for method, _, asked in self.asked if method == "GET"]


class _Handler(BaseHTTPRequestHandler):
    server: ArchiveServer

    def do_HEAD(self) -> None:
        self._note()
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()

    def do_GET(self) -> None:
        server = self.server
        self._note()
        if server.statuses:
            self.send_error(server.statuses.pop(0))
        elif server.location is not None:
            self.send_response(302)
            self.send_header("Location", server.location)
            self.end_headers()
            server.location = None
        else:
            self._send_archive(self._first_byte())

    def _note(self) -> None:
        self.server.asked.append((self.command, self.path, self.headers["Range"]))

    def _first_byte(self) -> int:
        server = self.server
        if not server.knows_ranges or self.headers["Range"] is None:
            return 0
        if server.heeds_if_range and self.headers["If-Range"] != server.etag:
            return 0
        return int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))

    def _send_archive(self, first: int) -> None:
        server = self.server
        size = len(server.body)
        if first >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.end_headers()
            return
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        if server.says_length:
            self.send_header("Content-Length", str(size - first + server.extra_length))
        if server.etag is not None:
            self.send_header("ETag", server.etag)
        self.end_headers()
        stop = server.cuts.pop(0) if server.cuts else server.stall_at
        self.wfile.write(server.body[first:] if stop is None else server.body[first : first + stop])
        if server.stall_at is not None:
            self.wfile.flush()
            server.released.wait(30)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def serve(body: bytes) -> Iterator[ArchiveServer]:
    """A running server; its address is its `url`."""
    with ArchiveServer(body) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()


def make_archive(name: str = "monet2photo", files: int = 6, size: int = 20_000) -> bytes:
    """A zip archive of the form of the public ones, with random content: the same for the same arguments."""
    random = np.random.default_rng(0)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(f"{name}/"), b"")
        for number in range(files):
            folder = ("trainA", "trainB", "testA", "testB")[number % 4]
            archive.writestr(zipfile.ZipInfo(f"{name}/{folder}/{number:05d}.jpg"), random.bytes(size))
    return packed.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its path in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def unpacked(archive: bytes, name: str = "monet2photo") -> dict[str, bytes]:
    """What `contents` of the unpacked folder must be."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {
            member.removeprefix(f"{name}/"): opened.read(member)
            for member in opened.namelist()
            if not member.endswith("/")
        }
