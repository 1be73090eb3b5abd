"""Options of the commands that compare images by features of networks, and how these are had."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from art2real.cli.common import Command, progress
from art2real.errors import UsageError

if TYPE_CHECKING:
    from art2real.evaluation.features import Features
    from art2real.evaluation.weights import Weights

    Extract = Callable[[str, Path, Weights], Features]

_TRIED = 16  # images that a rate is measured with


@dataclass(frozen=True)
class FeatureSource:
    """What the options say."""

    files: dict[str, Path]
    """Files of weights by network, as far as they are named."""
    any_weights: bool
    cache: Path | None

    def weights(self, network: str) -> Weights:
        """The weights of a network.

        Raises:
            UserError: they are not there, or are not the published ones and may not be others.
        """
        from art2real.evaluation.weights import find_weights

        return find_weights(network, self.files.get(network), any_weights=self.any_weights)

    @contextmanager
    def extractor(self, address: str | None) -> Iterator[Extract]:
        """A function from a set's name, folder and weights to its features; for the time of the block.

        A Ray cluster is started, or attached to, when the first features have to be computed.
        """
        from art2real.distributed.cluster import session
        from art2real.evaluation.features import default_cache, extract_features

        with ExitStack() as stack:
            entered: list[Any] = []

            def on_cluster(tasks: Any) -> Any:
                if not entered:
                    entered.append(stack.enter_context(session(address)))
                from art2real.distributed.feature_job import extract_on_cluster

                return extract_on_cluster(tasks)

            def extract(name: str, folder: Path, weights: Weights) -> Features:
                with progress(None, f"images of {name}") as bar:
                    found = extract_features(
                        name,
                        folder,
                        weights,
                        cache=self.cache or default_cache(),
                        do_tasks=on_cluster,
                        on_progress=bar.update,
                    )
                for file, reason in found.skipped:
                    click.echo(f"{name}: {file} is left out: {reason}", err=True)
                return found

            yield extract

    def rate(self, network: str) -> float:
        """Images a second whose features this process computes, all its threads together."""
        import numpy as np
        import torch

        from art2real.evaluation.networks import NETWORKS, make_network

        size = NETWORKS[network].image_size
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        compute = make_network(self.weights(network), device)
        images = np.random.default_rng(0).integers(0, 256, (_TRIED, size, size, 3), np.uint8)
        compute(images[:2])  # the first pass chooses algorithms
        begun = time.perf_counter()
        compute(images)
        return _TRIED / (time.perf_counter() - begun)


def feature_options(*networks: str) -> Callable[[Command], Command]:
    """`--weights`, `--any-weights` and `--cache`: they reach the command as `features`, a `FeatureSource`.

    Args:
        networks: those whose weights may be named; with one, its name is left out.
    """
    alone = len(networks) == 1
    metavar = "FILE" if alone else "NETWORK=FILE"

    def decorate(command: Command) -> Command:
        @click.option(
            "--weights",
            "files",
            metavar=metavar,
            multiple=not alone,
            help=f"Weights of {networks[0] if alone else 'a network'}, where they are not in torch's cache.",
        )
        @click.option(
            "--any-weights",
            is_flag=True,
            help="Take other weights than the published ones; the results say so.",
        )
        @click.option(
            "--cache",
            metavar="DIR",
            type=click.Path(path_type=Path),
            help="Where features are kept for the next call.  [default: art2real in the user's cache]",
        )
        @wraps(command)
        def wrapped(*args: Any, files: Any, any_weights: bool, cache: Path | None, **options: Any) -> Any:
            if alone:
                named = {} if files is None else {networks[0]: Path(files)}
            else:
                named = dict(_named(text, networks) for text in files)
            return command(*args, features=FeatureSource(named, any_weights, cache), **options)

        return wrapped  # type: ignore[return-value]

    return decorate


def _named(text: str, networks: tuple[str, ...]) -> tuple[str, Path]:
    network, equals, file = text.partition("=")
    if not equals or network not in networks or not file:
        raise UsageError(f"--weights {text}: write NETWORK=FILE; NETWORK is one of {', '.join(networks)}")
    return network, Path(file)
