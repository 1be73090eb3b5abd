"""An S3 server on the loopback interface that fails a share of its calls."""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest import mock

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from tests.data.sources.conftest import Bucket

_BUSY = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
)
_BROKEN = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>We failed.</Message></Error>"
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_OF_THE_USER = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN")


class FlakyStore:
    """Answers 503 or 500, cuts the connection, or breaks off in the middle of a file, each equally often."""

    def __init__(self, seed: int) -> None:
        self.share = 0.0
        """Of the calls that fail from now on."""
        self.calls = 0
        self.failed: Counter[str] = Counter()
        """By kind."""
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._app = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with self._lock:
            self.calls += 1
            kind = self._draw()
            if kind:
                self.failed[kind] += 1
        if kind in ("503", "500"):
            words, body = ("Slow Down", _BUSY) if kind == "503" else ("Internal Server Error", _BROKEN)
            start_response(f"{kind} {words}", [("Content-Length", str(len(body)))])
            return [body]
        if kind == "cut":
            return self._hang_up(environ, b"")
        answer = self._app(environ, start_response)
        if kind != "half":
            return answer
        whole = b"".join(answer)
        return self._hang_up(environ, whole[: len(whole) // 2])

    def _draw(self) -> str:
        if self._random.random() >= self.share:
            return ""
        return self._random.choice(("503", "500", "cut", "half"))

    def _hang_up(self, environ: dict[str, Any], said: bytes) -> Iterator[bytes]:
        """`said` of the answer, and then no connection."""
        if said:
            yield said
        with suppress(OSError):
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


@contextmanager
def flaky_bucket(seed: int) -> Iterator[tuple[FlakyStore, Bucket]]:
    """A running store with an empty bucket, whose credentials are in the environment meanwhile."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    kept = {name: value for name, value in os.environ.items() if name not in _OF_THE_USER}
    with mock.patch.dict(os.environ, {**kept, **_CREDENTIALS}, clear=True):
        store = FlakyStore(seed)
        server = make_server("127.0.0.1", 0, store, threaded=True, request_handler=MotoRequestHandler)
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        try:
            bucket = Bucket(f"127.0.0.1:{server.server_port}", "flaky")
            bucket.make()
            yield store, bucket
        finally:
            server.shutdown()
            serving.join()
            server.server_close()
