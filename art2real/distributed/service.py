"""Runs the HTTP service on a Ray cluster and takes it down again."""

from __future__ import annotations

import logging
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.config import HTTPOptions
from ray.serve.exceptions import RayServeException
from ray.serve.schema import LoggingConfig

from art2real.distributed.serve_app import APPLICATION, ServeArguments, build
from art2real.errors import UserError

_READY_SECONDS = 60
_FLUSH_SECONDS = 1.0
# Who listens on every interface is asked at this one.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@contextmanager
def running(arguments: ServeArguments, host: str, port: int, *, shut_down: bool) -> Iterator[None]:
    """The service, ready for requests, for the time of the block; those under way at its end are finished.

    Ray has to be initialised.

    Args:
        arguments: what it serves.
        host: address to listen on.
        port: TCP port.
        shut_down: end Serve as well. It has Ray print a line about it, so where the cluster ends next, that
            does it.

    Raises:
        UserError: the address cannot be listened on, or the application does not start.
    """
    _check_free(host, port)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    quiet = LoggingConfig(enable_access_log=False)  # the gateway writes its own
    serve.start(
        proxy_location="EveryNode",
        http_options=HTTPOptions(host=host, port=port),
        logging_config=quiet,
    )
    try:
        try:
            serve.run(build(arguments), name=APPLICATION, logging_config=quiet)
        except (RuntimeError, RayServeException) as error:
            raise UserError(f"the service does not start: {_cause(error)}") from None
        _wait_until_ready(host, port)
        yield
    finally:
        _finish()
        if shut_down:
            serve.shutdown()


def _finish() -> None:
    """Ends the application when the requests under way have their answers."""
    with suppress(RayServeException, RayError):  # it did not start, or has died
        serve.get_app_handle(APPLICATION).close.remote().result()
        # The answers are with Serve's proxy now, which sends them on.
        time.sleep(_FLUSH_SECONDS)
    serve.delete(APPLICATION)


def _check_free(host: str, port: int) -> None:
    """Serve would try for a while, and then say that a process of its own died."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port}: cannot be listened on: {error.strerror or error}"
        ) from None


def _wait_until_ready(host: str, port: int) -> None:
    """Serve counts an application as running a moment before the gateway has found the models.

    Raises:
        UserError: it does not become ready.
    """
    address = _LOOPBACK.get(host, host)
    url = f"http://{f'[{address}]' if ':' in address else address}:{port}/health/ready"
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end:
        with suppress(OSError), urllib.request.urlopen(url, timeout=10):
            return
        time.sleep(0.1)
    raise UserError(f"the service started but is not ready after {_READY_SECONDS} s: see {url}")


def _cause(error: Exception) -> str:
    """What the application's own status says, which the exception only points to."""
    status: Any = serve.status().applications.get(APPLICATION)
    said = [] if status is None else [each.message for each in status.deployments.values() if each.message]
    lines = [line.strip() for text in said or [str(error)] for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else str(error)
