"""Backends that do as they are told, images in bytes, and ways to ask the service."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import numpy as np
import uvicorn
from PIL import Image

from art2real.serving.app import make_app
from art2real.serving.metrics import NoMetrics
from art2real.serving.settings import ServiceSettings
from tests.pictures import make_photo


class Mirror:
    """Translates by negating, at once: what comes back is known. `hold` lets translations wait."""

    explains = True

    def __init__(self):
        self.hold = None
        self.failure = None
        self.started = 0
        self.cancelled = 0
        self.probes = 0

    async def names(self):
        return ["monet", "cezanne"]

    async def translate(self, model, pixels):
        self.started += 1
        try:
            if self.hold is not None:
                await self.hold.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure
        return 255 - pixels

    async def explain(self, model, pixels, *, pictures):
        height, width = pixels.shape[:2]
        return {
            "width": width,
            "height": height,
            "grid": {"side": max(height, width), "rows": 1, "columns": 1},
            "neighbour_fields": [],
            "square_size": 64,
            "scales": [],
            "squares": [],
            "photos": [],
            "asked": [model, pictures, round(float(pixels.mean()), 3)],
        }

    async def probe(self):
        self.probes += 1
        await self.translate("monet", np.zeros((8, 8, 3), np.uint8))


def service(backend=None, metrics=None, **settings):
    return make_app(backend or Mirror(), ServiceSettings(**settings), metrics or NoMetrics())


def client(app, **arguments) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service", **arguments)


class Asker:
    """A client whose every call waits for the answer."""

    def __init__(self, app):
        self._loop = asyncio.new_event_loop()
        self._client = client(app)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._loop.run_until_complete(self._client.aclose())
        self._loop.close()

    def __getattr__(self, name):
        call = getattr(self._client, name)
        return lambda *arguments, **named: self._loop.run_until_complete(call(*arguments, **named))


def image_bytes(image_format="PNG", height=20, width=30, **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(make_photo(1, height, width)).save(out, format=image_format, **options)
    return out.getvalue()


def pixels_of(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def form(content: bytes, name="image", boundary=b"edge") -> bytes:
    head = b'--%s\r\nContent-Disposition: form-data; name="%s"; filename="a.png"\r\n\r\n'
    return head % (boundary, name.encode()) + content + b"\r\n--%s--\r\n" % boundary


FORM_TYPE = "multipart/form-data; boundary=edge"


def check_error(response, status: int, code: str | None = None) -> str:
    """That an answer is an error as the contract has it; returns its message."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    assert code in (None, body["error"]["code"])
    assert "Traceback" not in response.text
    if status == 503:
        assert int(response.headers["retry-after"]) >= 1
    return body["error"]["message"]


class Asked:
    """One request spoken in ASGI's own messages, so that a body can come slowly, or its sender go away."""

    def __init__(self, app, messages, path="/v1/translate", headers=()):
        self.taken = 0
        self.sent = []
        self._messages = iter(messages)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    @property
    def status(self):
        return self.sent[0]["status"] if self.sent else None

    async def _receive(self):
        self.taken += 1
        message = next(self._messages, None)
        if isinstance(message, asyncio.Event):
            await message.wait()
            return {"type": "http.disconnect"}
        if message is None:
            await asyncio.Event().wait()
        return message

    async def _send(self, message):
        self.sent.append(message)


def piece(body: bytes, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


@contextmanager
def on_a_port(app) -> Iterator[int]:
    """The service on a real server at 127.0.0.1; gives its port."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < until
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
