"""As much of Google's JSON interface as reading a bucket needs; `python gcs_server.py` prints its port.

A process of its own: Arrow holds Python's lock while it asks for a file's size.
"""

from __future__ import annotations

import http.server
import json
from urllib.parse import parse_qs, unquote, urlsplit

OBJECTS = {
    "p/a b.jpg": b"one",
    "p/c/d?.jpg": b"two" * 1000,
    "p/c/": b"",
    "p/c/words.txt": b"words",
    "p/c.jpg": b"three",
    "p/c0.jpg": b"four",
    "p/name": b"GIF89a" + bytes(40),
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if path.startswith("/storage/v1/b/bucket/o"):
            key = unquote(path.removeprefix("/storage/v1/b/bucket/o").removeprefix("/"))
            if not key:
                self.answer(listing(query.get("prefix", [""])[0]))
            elif key in OBJECTS:
                self.answer(OBJECTS[key] if query.get("alt") == ["media"] else facts(key))
            else:
                self.answer({"error": {"code": 404, "message": "no such object"}}, 404)
        elif (key := unquote(path.removeprefix("/bucket/"))) in OBJECTS:
            self.answer(OBJECTS[key])
        else:
            self.answer({"error": {"code": 404, "message": "no such bucket"}}, 404)

    def answer(self, content: bytes | dict[str, object], code: int = 200) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        wanted = self.headers.get("Range")
        if wanted and code == 200:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            whole, body = len(body), body[int(first) : int(last) + 1 if last else None]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(body) - 1}/{whole}")
        else:
            self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def facts(key: str) -> dict[str, object]:
    times = dict.fromkeys(("timeCreated", "updated"), "2026-01-01T00:00:00Z")
    return {
        "kind": "storage#object",
        "bucket": "bucket",
        "name": key,
        "size": str(len(OBJECTS[key])),
        **times,
    }


def listing(prefix: str) -> dict[str, object]:
    items = [facts(key) for key in OBJECTS if key.startswith(prefix)]
    return {"kind": "storage#objects", "items": items}


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
