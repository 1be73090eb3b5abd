"""`art2real-cli serve`."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from art2real.cli.common import address_option
from art2real.cli.named import parse_named
from art2real.cli.token import read_token
from art2real.errors import UsageError

if TYPE_CHECKING:
    from art2real.serving.settings import ServiceSettings

_TOKEN = "ART2REAL_TOKEN"  # art2real.serving.settings.TOKEN_VARIABLE, which takes seconds to import


@click.command()
@click.option(
    "--checkpoint",
    "checkpoints",
    metavar="[NAME=]CKPT",
    multiple=True,
    required=True,
    help="A run, checkpoint or exported folder; several with names. The first is the default model.",
)
@click.option(
    "--bank",
    metavar="BANK",
    type=click.Path(path_type=Path),
    help="Memory bank with its index: then the service tells the sources of its pictures.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on."
)
@click.option(
    "--max-replicas",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Most processes that hold the models; more are started while requests wait.",
)
@click.option("--max-bytes", type=int, help="Largest request, bytes.")
@click.option("--max-pixels", type=int, help="Largest painting, pixels.")
@click.option("--timeout", "timeout_seconds", type=float, help="Longest time for a request, seconds.")
@click.option("--queue", "max_waiting", type=int, help="Most requests at a time; others get a 503.")
@click.option(
    "--token-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help=f"Holds the bearer token that requests must carry.  [default: the variable {_TOKEN}, or none]",
)
@click.option("--cors", "cors_origins", metavar="ORIGIN", multiple=True, help="Origin whose pages may ask.")
@click.option(
    "--access-log", metavar="FILE", type=click.Path(path_type=Path), help="One JSON line for each request."
)
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65535),
    help="Show metrics to Prometheus at this port, path /metrics; Ray listens there on every interface.",
)
@address_option
def command(
    checkpoints: tuple[str, ...],
    bank: Path | None,
    host: str,
    port: int,
    max_replicas: int,
    token_file: Path | None,
    metrics_port: int | None,
    address: str | None,
    **settings: Any,
) -> None:
    """Serve translations over HTTP until Ctrl-C or SIGTERM; requests under way are finished.

    A page to try it is at http://HOST:PORT/, the description of all requests at /openapi.json. For a cluster,
    see configs/serve.yaml and `serve deploy`.
    """
    from art2real.distributed.cluster import cores, session

    models = parse_named(checkpoints, "--checkpoint", "model")
    service = _settings({**settings, "token": read_token(token_file, "--token-file", _TOKEN)})
    _check(models, bank)
    threads = max(1, cores() // max_replicas)
    # One CPU for the explainer beside those of the models.
    with session(address, cpus=max_replicas * threads + 1, metrics_port=metrics_port):
        # Only now: Ray reads its environment, which the session sets, when it is imported.
        from art2real.distributed.cluster import cluster_gpus
        from art2real.distributed.serve_app import ServeArguments
        from art2real.distributed.service import running

        arguments = ServeArguments(
            models={name: str(Path(path).absolute()) for name, path in models.items()},
            bank=None if bank is None else str(bank.absolute()),
            service=service,
            max_replicas=max_replicas,
            cpus=threads,
            gpus=min(1.0, cluster_gpus() / max_replicas),
        )
        stopped = _stop_signals()  # Ray has just set a handler of its own, which would abort the process
        with running(arguments, host, port, shut_down=address is not None):
            shown = f"[{host}]" if ":" in host else host
            click.echo(f"serving {', '.join(models)} at http://{shown}:{port}/ (Ctrl-C stops)", err=True)
            stopped.wait()
            click.echo("stopping: requests under way are finished", err=True)


def _settings(chosen: dict[str, Any]) -> ServiceSettings:
    from pydantic import ValidationError

    from art2real.serving.settings import ServiceSettings

    given = {name: value for name, value in chosen.items() if value is not None}
    if "access_log" in given:  # replicas have a working directory of their own
        given["access_log"] = given["access_log"].absolute()
    try:
        return ServiceSettings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        options = {"timeout_seconds": "timeout", "max_waiting": "queue", "cors_origins": "cors"}
        name = str(first["loc"][0])
        option = options.get(name, name.replace("_", "-"))
        raise UsageError(f"--{option} {first['input']}: {first['msg']}") from None


def _check(models: dict[str, str], bank: Path | None) -> None:
    """What is wrong with the models or the bank, before a cluster is started for them."""
    from art2real.data.bank import MemoryBank
    from art2real.index.manifest import check_index
    from art2real.translation.weights import load_generator

    for path in models.values():
        load_generator(path)
    if bank is not None:
        opened = MemoryBank.open(bank)
        for scale in opened.scales:
            check_index(opened, scale)


def _stop_signals() -> threading.Event:
    """Set by the first SIGINT or SIGTERM; a second one ends the process at once."""
    stopped = threading.Event()

    def stop(number: int, frame: Any) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return stopped
