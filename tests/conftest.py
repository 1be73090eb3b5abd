"""One local Ray cluster for all tests of the session."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# Ray reads some of this when it is imported, which a test module may do before any fixture runs.
os.environ.update(
    RAY_AUTH_MODE="disabled",
    RAY_TRAIN_HEALTH_CHECK_INTERVAL_S="0.1",
    RAY_TRAIN_ENABLE_PREEMPTION_WATCHER="0",
    RAY_TRAIN_METRICS_ENABLED="0",
    RAY_DATA_DISABLE_PROGRESS_BARS="1",
    RAY_DATA_LOG_LEVEL="WARNING",
)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A cluster of its own (never one that happens to run), with short waits and no logs."""
    import ray

    ray.init(
        address="local",
        num_cpus=8,
        object_store_memory=256 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
    )
    yield
    ray.shutdown()
