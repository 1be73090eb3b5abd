"""The study's server as a process, until it is told to stop."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from art2real.errors import UsageError, UserError
from art2real.study.app import Access, make_app
from art2real.study.store import Store

_GRACE_SECONDS = 10
_MOST_CONNECTIONS = 1000


def serve_study(
    study: Path,
    *,
    database: str | None,
    host: str,
    port: int,
    admin_token: str | None,
    open_enrolment: bool,
    on_ready: Callable[[str], None],
) -> None:
    """Serves a study until SIGINT or SIGTERM; requests under way are finished.

    Args:
        study: the study's folder.
        database: URL of a database; None: a file in the folder.
        host: address to listen on.
        port: 0 takes one that is free.
        admin_token: what the administrator's page asks for; None: there is no such page.
        open_enrolment: whoever opens the address may take part; else only who has a link.
        on_ready: called with the server's address once it answers.

    Raises:
        UsageError: the token cannot be one.
        UserError: the study or its database cannot be used, or the port is taken.
    """
    _check_token(admin_token)
    store = Store.open(study, database)
    try:
        app = make_app(study, store, Access(open_enrolment=open_enrolment, admin_token=admin_token))
        listening = _listen(host, port)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,  # links are secrets, and addresses say who somebody is
            server_header=False,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            limit_concurrency=_MOST_CONNECTIONS,
        )
        shown = f"[{host}]" if ":" in host else host
        server = _Server(config, lambda: on_ready(f"http://{shown}:{listening.getsockname()[1]}/"))
        with _stop_by_signals(server):
            server.run([listening])
    finally:
        store.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()


@contextmanager
def _stop_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """When uvicorn has finished it raises the signal again, to the handlers from before: these do no harm."""

    def stop(number: int, frame: Any) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(host: str, port: int) -> socket.socket:
    """A socket of our own: uvicorn would end the process where the port is taken."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}; "
            "choose another --port or --host"
        ) from None


def _check_token(token: str | None) -> None:
    if token is None:
        return
    if not token.isascii() or token != token.strip() or len(token) < 8:
        raise UsageError(
            "the administrator's token has to be at least 8 plain characters, without blanks around it"
        )
