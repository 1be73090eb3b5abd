"""Ray Data as our jobs use it: one operator that works, whose rows are the results."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import ray


def work_on_rows() -> None:
    """Sets Ray Data, in this process, for datasets of one operator whose rows tell how far it has come."""
    context = ray.data.DataContext.get_current()
    # Rows tell the progress, and errors are raised: Data's bars and logs would say both once more.
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    # A row is its own block, so that it arrives when it is made.
    context.target_max_block_size = 1
    # Keeping half of the CPUs back for other operators made a job a third slower.
    context.op_resource_reservation_enabled = False


def rows_as_made(dataset: Any) -> Iterator[dict[str, Any]]:
    """The rows of a dataset, each when it is made: fetched ahead, one would arrive when the next is done."""
    for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0):
        for values in zip(*batch.values(), strict=True):
            yield dict(zip(batch, values, strict=True))
