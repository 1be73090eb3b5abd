"""What many tests share: one local Ray cluster, and weights of networks drawn once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import settings

# No test is timed: machines are busy now and then.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
# A shell starts what it leaves in the background without Ctrl-C, which tests send to the commands they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Several processes test at the same time: with threads for all cores each, they would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray reads some of this when it is imported, which a test module may do before any fixture runs.
os.environ.update(
    RAY_AUTH_MODE="disabled",
    RAY_TRAIN_HEALTH_CHECK_INTERVAL_S="0.1",
    RAY_TRAIN_ENABLE_PREEMPTION_WATCHER="0",
    RAY_TRAIN_METRICS_ENABLED="0",
    RAY_DATA_DISABLE_PROGRESS_BARS="1",
    RAY_DATA_LOG_LEVEL="WARNING",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first: the last ones, which no other process helps with, are then short."""
    items.sort(key=lambda item: not item.nodeid.startswith(("tests/distributed/", "tests/cli/")))


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A cluster of its own (never one that happens to run), with short waits and no logs."""
    import ray

    ray.init(
        address="local",
        # As many as a training run with its index actors claims. Each is a process that imports for seconds.
        num_cpus=4,
        object_store_memory=256 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        labels={"role": "tests"},
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory):
    with _drawn("inception", tmp_path_factory) as weights:
        yield weights


@pytest.fixture(scope="session")
def vgg_weights(tmp_path_factory):
    with _drawn("vgg19", tmp_path_factory) as weights:
        yield weights


@pytest.fixture(scope="session")
def resnet_weights(tmp_path_factory):
    with _drawn("resnet152", tmp_path_factory) as weights:
        yield weights


@pytest.fixture(scope="session")
def inception(inception_weights):
    import torch

    from art2real.evaluation.networks import make_network

    return make_network(inception_weights, torch.device("cpu"))


@pytest.fixture(scope="session")
def style_weights(tmp_path_factory):
    from tests.evaluation.style_weights import write_style_weights

    weights = write_style_weights(tmp_path_factory.mktemp("weights"))
    yield weights
    weights.path.unlink()


@pytest.fixture
def one_thread():
    """So that results are always the same, and other work on the machine makes nobody wait for it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@contextmanager
def _drawn(network, folders):
    """Random weights as `Weights`; the file is large, and gone afterwards."""
    # Imported here: most tests need no torch.
    from art2real.evaluation.weights import find_weights
    from tests.evaluation.random_weights import write_random_weights

    path = write_random_weights(network, folders.mktemp("weights"))
    yield find_weights(network, path, any_weights=True)
    path.unlink()
