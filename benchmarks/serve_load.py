"""The HTTP service under load, on the loopback interface.

    python benchmarks/serve_load.py --json serve_load.json

Serves a generator of the published size (random weights) and measures, in turns with the same model in a
plain loop over batches of the same size: images a second at 16 clients, with the times of requests; then an
overload of four times what it can do; then a replica that is killed under load; then what the service costs
where the model does nothing, against plain uvicorn.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import torch
from common import machine, report
from PIL import Image
from serve_clients import Answers, at_rate, concurrently

from art2real.config.tree import Networks
from art2real.core.networks import ResNetGenerator, initialise
from art2real.distributed.cluster import cores, session
from art2real.translation.image import translate_batch
from art2real.translation.weights import load_generator, save_generator

_PATH = "/v1/translate?format=jpeg"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=256, help="side of the paintings, pixels")
    parser.add_argument("--width", type=int, default=64, help="of the generator")
    parser.add_argument("--blocks", type=int, default=9, help="of the generator")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=96, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--overload-seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = _checkpoint(Path(folder) / "weights", options.width, options.blocks)
        painting = _painting(options.size)
        with session(None, cpus=cores() + 1):
            from art2real.distributed.serve_app import ServeArguments
            from art2real.distributed.service import running

            port = _free_port()
            arguments = ServeArguments(models={"model": str(checkpoint)}, cpus=cores())
            with running(arguments, "127.0.0.1", port, shut_down=True):
                url = f"http://127.0.0.1:{port}"
                batch = max(1, arguments.batch_pixels // options.size**2)
                capacity = _throughput(rows, url, checkpoint, painting, batch, options)
                _overload(rows, url, painting, 4 * capacity, options.overload_seconds)
                _killed(rows, url, painting, options)
            _overhead(rows, painting, options)
    about = machine("torch", "ray", "uvicorn", "fastapi")
    report("The HTTP service under load", about, rows, options.json)


def _throughput(
    rows: list[dict[str, object]], url: str, checkpoint: Path, body: bytes, batch: int, options: Any
) -> float:
    generator = load_generator(checkpoint)
    torch.set_num_threads(cores())
    with Image.open(io.BytesIO(body)) as image:
        pictures = [np.asarray(image)] * batch
    loop: list[float] = []
    served: list[Answers] = []
    translate_batch(generator, pictures)
    concurrently(url, _PATH, body, clients=options.clients, requests=options.clients)
    for _ in range(options.rounds):
        begun = time.perf_counter()
        passes = max(1, options.requests // batch)
        for _ in range(passes):
            translate_batch(generator, pictures)
        loop.append(passes * batch / (time.perf_counter() - begun))
        served.append(concurrently(url, _PATH, body, clients=options.clients, requests=options.requests))
    rates = [answers.good / answers.seconds for answers in served]
    ratios = [each / other for each, other in zip(rates, loop, strict=True)]
    rows += [
        _row(f"plain loop, batches of {batch}", "images/s", loop),
        _row(f"service, {options.clients} clients", "images/s", rates),
        _row("service, × plain loop", "", ratios),
        _row("– median time of a request", "s", [each.quantile(0.5) for each in served]),
        _row("– 99 % of the requests within", "s", [each.quantile(0.99) for each in served]),
        {"what": "– answers", "unit": "", "median": _statuses(*served), "least": "", "greatest": ""},
    ]
    return statistics.median(rates)


def _overload(rows: list[dict[str, object]], url: str, body: bytes, rate: float, seconds: float) -> None:
    memory: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(1.0):
            memory.append(_memory())

    watching = threading.Thread(target=watch)
    watching.start()
    answers = at_rate(url, _PATH, body, rate=rate, seconds=seconds)
    stop.set()
    watching.join()
    half = len(memory) // 2
    rows += [
        {
            "what": f"overload: {rate:.0f} requests/s for {seconds:.0f} s",
            "unit": "answers",
            "median": _statuses(answers),
            "least": "",
            "greatest": "",
        },
        _row("– images/s meanwhile", "images/s", [answers.good / answers.seconds]),
        _row("– longest time of an answered request", "s", [max(answers.latencies)]),
        _row("– memory of gateway and model, first half", "MB", [each / 1e6 for each in memory[:half]]),
        _row("– memory of gateway and model, second half", "MB", [each / 1e6 for each in memory[half:]]),
    ]


def _killed(rows: list[dict[str, object]], url: str, body: bytes, options: Any) -> None:
    """Kills the process of the models, and then that of the gateway, while requests are under way."""
    for name in ("Translator", "Gateway"):
        answers = concurrently(
            url,
            _PATH,
            body,
            clients=options.clients,
            requests=options.requests,
            during=lambda name=name: os.kill(_replicas(name)[0].pid, signal.SIGKILL),  # type: ignore[misc]
        )
        rows.append(
            {
                "what": f"{name} killed under load",
                "unit": "answers",
                "median": _statuses(answers),
                "least": "",
                "greatest": f"longest {max(answers.latencies):.1f} s",
            }
        )
        _until_ready(url)


def _overhead(rows: list[dict[str, object]], body: bytes, options: Any) -> None:
    """One request after the other through a model that returns its input: on Ray Serve, and without Ray."""
    from ray import serve
    from ray.serve.config import HTTPOptions

    from art2real.distributed.serve_gateway import GATEWAY
    from art2real.serving.settings import ServiceSettings

    @serve.deployment
    class Empty:
        async def names(self) -> list[str]:
            return ["empty"]

        async def translate(self, model: str, pixels: np.ndarray) -> np.ndarray:
            return pixels

    port = _free_port()
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=port))
    serve.run(GATEWAY.bind(ServiceSettings(), Empty.bind(), None), name="empty")
    with _plain_uvicorn() as plain:
        urls = {"plain uvicorn": plain, "Ray Serve": f"http://127.0.0.1:{port}"}
        times: dict[str, list[float]] = {name: [] for name in urls}
        for _ in range(options.rounds + 1):
            for name, url in urls.items():
                answers = concurrently(url, _PATH, body, clients=1, requests=100)
                times[name].append(answers.quantile(0.5) * 1000)
    for name, found in times.items():
        rows.append(_row(f"empty model, one client, {name}", "ms", found[1:]))
    serve.shutdown()


@contextlib.contextmanager
def _plain_uvicorn() -> Iterator[str]:
    import uvicorn

    from art2real.serving.app import make_app
    from art2real.serving.local import LocalBackend
    from art2real.serving.metrics import NoMetrics
    from art2real.serving.settings import ServiceSettings

    app = make_app(LocalBackend({"empty": torch.nn.Identity()}), ServiceSettings(), NoMetrics())
    port = _free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def _replicas(name: str) -> list[psutil.Process]:
    return [
        each
        for each in psutil.process_iter(["cmdline"])
        if f"ServeReplica:art2real:{name}" in " ".join(each.info["cmdline"] or [])
    ]


def _memory() -> int:
    return sum(each.memory_info().rss for name in ("Gateway", "Translator") for each in _replicas(name))


def _until_ready(url: str) -> None:
    for _ in range(120):
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health/ready", timeout=10).status_code == 200:
                return
        time.sleep(0.5)
    raise SystemExit("the service is not back after a minute")


def _statuses(*found: Answers) -> str:
    total = sum((each.statuses for each in found), start=found[0].statuses.__class__())
    return ", ".join(f"{count} × {status}" for status, count in sorted(total.items()))


def _row(what: str, unit: str, values: list[float]) -> dict[str, object]:
    return {
        "what": what,
        "unit": unit,
        "median": statistics.median(values),
        "least": min(values),
        "greatest": max(values),
    }


def _checkpoint(folder: Path, width: int, blocks: int) -> Path:
    generator = ResNetGenerator(width, blocks)
    initialise(generator, torch.Generator().manual_seed(0))
    save_generator(generator, Networks(generator_width=width, generator_blocks=blocks), folder)
    return folder


def _painting(size: int) -> bytes:
    """A JPEG with structure at all scales."""
    random = np.random.default_rng(0)
    small = Image.fromarray(random.integers(0, 256, (size // 8, size // 8, 3), np.uint8))
    out = io.BytesIO()
    small.resize((size, size), Image.Resampling.BICUBIC).save(out, format="JPEG", quality=90)
    return out.getvalue()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
