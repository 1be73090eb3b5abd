"""Starting, or attaching to, the Ray cluster that a command works on."""

from __future__ import annotations

import logging
import math
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from art2real.errors import UserError

log = logging.getLogger(__name__)

# Blocks that travel between tasks are small here (file lists, queries, ids); images stay in files.
_OBJECT_STORE_BYTES = 512 * 2**20


# Seconds to wait for a head node; Ray itself would try for minutes.
_KNOCK_SECONDS = 10.0
# Seconds between two looks whether the head of a cluster is there.
_LOOK_SECONDS = 5.0
# Seconds that Ray waits for a head that is gone, see its documentation of fault tolerance.
_PATIENCE = "RAY_gcs_rpc_server_reconnect_timeout_s", 60.0


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def session(
    address: str | None, *, cpus: float | None = None, metrics_port: int | None = None
) -> Iterator[None]:
    """A Ray cluster for the time of the block.

    Args:
        address: of a running cluster (`auto`, `HOST:PORT`, `ray://HOST:PORT`); it is left running at the end.
            None: a cluster on this machine alone, stopped at the end. Ray listens on every interface, so it
            takes work only with a token that is drawn here and lives in this process's environment.
        cpus: CPUs that the work claims at the same time; a local cluster says it has as many, if the machine
            has fewer, so that small machines share their cores instead of waiting forever.
        metrics_port: where a local cluster shows its metrics to Prometheus, on every interface; None: a free
            port.

    Raises:
        UserError: no cluster answers at `address`.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None and "ray" not in sys.modules:
        # Ray reads this at its first import only. Where it came before, its own default holds: a token in the
        # user's home.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        if os.environ["RAY_AUTH_MODE"] == "token":
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray

    if ray.is_initialized():  # in a submitted job, or in a test's cluster: it is not ours to stop
        yield
        return
    if address is None:
        ray.init(
            address="local",
            num_cpus=max(cores(), math.ceil(cpus or 0)),
            object_store_memory=_OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _metrics_export_port=metrics_port,
        )
    else:
        try:
            _knock(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError) as error:
            raise UserError(
                f"no Ray cluster answers at --address {address} ({error}): "
                "start one with `ray start --head`, or leave --address out to use this machine"
            ) from None
    over = threading.Event()
    if address is not None and not address.startswith("ray://"):
        head = ray.get_runtime_context().gcs_address
        threading.Thread(target=_watch, args=(head, over), name="watch-head", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        ray.shutdown()


def largest_node_cpus() -> float:
    """CPUs of the node that has most of them, of the cluster that this process is connected to."""
    import ray

    return max((node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]), default=0.0)


def cluster_gpus() -> float:
    """GPUs of the cluster that this process is connected to."""
    import ray

    gpus: float = ray.cluster_resources().get("GPU", 0.0)
    return gpus


def _watch(head: str, over: threading.Event) -> None:
    """Ends this process when the head of its cluster stays away, shortly before Ray would do it: with words
    that say what to do, which Ray's do not."""
    name, usual = _PATIENCE
    patience = float(os.environ.get(name, usual)) - 2 * _LOOK_SECONDS
    seen = time.monotonic()
    while not over.wait(_LOOK_SECONDS):
        try:
            _knock(head)
            seen = time.monotonic()
        except OSError:
            if time.monotonic() - seen > patience:
                log.error(
                    "the head of the Ray cluster, %s, has not answered for %.0f s. What is done is kept: "
                    "start a cluster and run the command again, with --resume where it has that",
                    head,
                    time.monotonic() - seen,
                )
                os._exit(1)


def _knock(address: str) -> None:
    """Raises OSError if nothing listens at HOST:PORT, ValueError if it is no such address."""
    if address == "auto":
        return
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not separator or not port.isdecimal():
        raise ValueError("write auto, HOST:PORT or ray://HOST:PORT")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()
