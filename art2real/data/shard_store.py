"""Full shards on their way to the disk, while the next photos are decoded."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

import numpy as np

_P = ParamSpec("_P")
_T = TypeVar("_T")

_SHARDS = 2
"""One that is filled and one that is written."""


class ShardStore:
    """A thread that writes, in the order it is asked to, and the memory of the shards that it writes.

    Writing waits for the disk more than it works, so that a second thread costs the decoder hardly anything.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "shard-store")
        self._free: SimpleQueue[mmap.mmap | None] = SimpleQueue()
        for _ in range(_SHARDS):
            self._free.put(None)

    def __enter__(self) -> ShardStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def squares(self, shape: tuple[int, ...]) -> Squares:
        """Memory for squares, uint8 of `shape`; waits for a shard to be written if all is in use."""
        memory = self._free.get()
        if memory is None or len(memory) < math.prod(shape):
            memory = mmap.mmap(-1, math.prod(shape))
            if hasattr(mmap, "MADV_HUGEPAGE"):
                memory.madvise(mmap.MADV_HUGEPAGE)
        return Squares(self._free, memory, shape)

    def submit(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Has work done after all that was submitted before."""
        return self._thread.submit(work, *args, **kwargs)


class Squares:
    """Pixels in memory of a `ShardStore`, to be given back once."""

    def __init__(
        self, free: SimpleQueue[mmap.mmap | None], memory: mmap.mmap, shape: tuple[int, ...]
    ) -> None:
        self._free, self._memory = free, memory
        self.pixels = np.frombuffer(memory, np.uint8, math.prod(shape)).reshape(shape)

    def give_back(self) -> None:
        """Lets the next shard have the memory."""
        self._free.put(self._memory)
