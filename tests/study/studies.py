"""Small studies with real pictures, their server, and participants who answer over HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

import httpx

from art2real.study.app import Access, make_app
from art2real.study.create import create_study
from art2real.study.design import Exclusion
from art2real.study.limits import Rate
from art2real.study.plan import Plan
from art2real.study.store import Store
from tests.pictures import write_photos
from tests.serving.made import on_a_port

ADMIN = "admin-s3cret"
FREE = Rate(1e6, 10**6)
"""A limit that nothing reaches."""


def make_study(
    folder: Path,
    kind="realism",
    *,
    trials=4,
    attention=1,
    practice=2,
    size=48,
    images=8,
    languages=("en", "it"),
) -> Path:
    """A study of images as small as its pictures are shown; `folder` must not exist."""
    material = folder.with_name(folder.name + "-images")
    sets = {"CycleGAN": material / "one", "Ours": material / "two"}
    for seed, where in enumerate(sets.values()):
        write_photos(where, images, height=size, width=size, seed=100 * seed)
    paintings = real = None
    if kind == "coherency":
        paintings = material / "paintings"
        write_photos(paintings, images, height=size, width=size, seed=500)
    if kind == "real-vs-generated":
        real = material / "real"
        write_photos(real, images, height=size, width=size, seed=700)
        sets = {"Ours": sets["Ours"]}
    plan = Plan(
        kind=kind,
        sets=sets,
        paintings=paintings,
        real=real,
        trials=trials,
        attention=attention,
        practice=practice,
        size=size,
        seed=3,
        languages=languages,
        participants=None,
        exclusion=Exclusion(max_attention_failures=0),
    )
    create_study(plan, folder)
    return folder


@contextmanager
def asked(folder: Path, database: str | None = None, **access) -> Iterator[httpx.Client]:
    """A client of the study's application on a server; limits are off unless they are given."""
    free = {"address": FREE, "participant": FREE, "enrol": FREE}
    store = Store.open(folder, database)
    try:
        with (
            on_a_port(make_app(folder, store, Access(**{**free, **access}))) as port,
            httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
        ):
            yield client
    finally:
        store.close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class Person:
    """A participant who answers as told."""

    def __init__(self, client, token: str) -> None:
        self._client = client
        self._headers = bearer(token)

    def state(self):
        return self._client.get("/api/state", headers=self._headers)

    def consent(self, language="en", **more):
        body = {"language": language, **more}
        return self._client.post("/api/consent", headers=self._headers, json=body)

    def answer(self, entry, choice="left", reaction_ms=900, **changes):
        body = {
            "position": entry["position"],
            "secret": entry["secret"],
            "choice": choice,
            "reaction_ms": reaction_ms,
            **changes,
        }
        return self._client.post("/api/answer", headers=self._headers, json=body)


@contextmanager
def process(folder: Path, port: int, *, database=None, open_enrolment=False) -> Iterator[subprocess.Popen]:
    """The server as a process of its own, once it answers; killed in the end if it is still there."""
    code = (
        "import sys; from pathlib import Path; from art2real.study.server import serve_study\n"
        "folder, port, database, admin, opened = sys.argv[1:]\n"
        "serve_study(Path(folder), database=database or None, host='127.0.0.1', port=int(port),\n"
        "            admin_token=admin, open_enrolment=opened == 'yes',\n"
        "            on_ready=lambda url: print(url, flush=True))\n"
    )
    arguments = [str(folder), str(port), database or "", ADMIN, "yes" if open_enrolment else "no"]
    server = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    said: Queue[str] = Queue()
    Thread(target=lambda: said.put(server.stdout.readline()), daemon=True).start()
    try:
        assert said.get(timeout=30).startswith("http://127.0.0.1:"), "the server did not start"
        yield server
    except Empty:
        raise AssertionError("the server did not start in time") from None
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
