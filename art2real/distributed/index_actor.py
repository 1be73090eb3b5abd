"""The process that holds shards of an index. It imports no torch: it has to start in a moment."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import ray

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.distributed.request_queue import RequestQueue
from art2real.errors import UserError
from art2real.index.joined import JoinedSearch
from art2real.index.protocol import Neighbours
from art2real.index.shard import IndexShard


class IndexActor:
    """One or more shards of one scale, with their part of the bank.

    What it needs to start is small and says where its files lie, so that Ray can start it again anywhere.
    A shard that cannot be loaded does not keep the others from answering: its `UserError` stands in the place
    of its answer. Searches, rows and health have a thread each, so that none of them waits for another.
    """

    def __init__(
        self,
        bank: str,
        scale: str,
        parts: Sequence[str],
        trained: str,
        nprobe: int,
        threads: int,
        on_gpu: bool,
    ) -> None:
        """`bank`: its folder; `scale`: SIZE:STRIDE; `parts`: the shards' files; `trained`: identity of what
        they share; `on_gpu`: search on a GPU."""
        self._bank_path = Path(bank)
        self._scale = Scale.parse(scale)
        self._shards = [_load(Path(part), trained, nprobe, threads, on_gpu) for part in parts]
        self._loaded = [shard for shard in self._shards if isinstance(shard, IndexShard)]
        self._queue = RequestQueue(JoinedSearch(self._loaded, on_gpu=on_gpu).search)

    async def search(self, unit_queries: np.ndarray, k: int) -> list[Neighbours | UserError]:
        found = iter(await self._queue.ask(unit_queries, k))
        return [shard if isinstance(shard, UserError) else next(found) for shard in self._shards]

    @ray.method(concurrency_group="rows")
    def cell_sizes(self) -> list[np.ndarray | UserError]:
        return [shard if isinstance(shard, UserError) else shard.cell_sizes() for shard in self._shards]

    @ray.method(concurrency_group="rows")
    def rows_at(
        self, cells: Sequence[np.ndarray], offsets: Sequence[np.ndarray]
    ) -> list[np.ndarray | UserError]:
        return [
            shard if isinstance(shard, UserError) else shard.rows_at(mine, at)
            for shard, mine, at in zip(self._shards, cells, offsets, strict=True)
        ]

    @ray.method(concurrency_group="rows")
    def patches(self, rows: np.ndarray) -> np.ndarray:
        """int64 `[R]` -> uint8 `[R, size, size, 3]`, from this process's own mapping of the bank."""
        return self._bank.patches(self._scale, rows)

    @ray.method(concurrency_group="health")
    def ping(self) -> None:
        """Answers as long as the process lives, whatever it is busy with."""

    @cached_property
    def _bank(self) -> MemoryBank:
        return MemoryBank.open(self._bank_path)


def _load(path: Path, trained: str, nprobe: int, threads: int, on_gpu: bool) -> IndexShard | UserError:
    # Not raised: of an actor that cannot be made, all that is known is that it died.
    try:
        shard = IndexShard.load(path, nprobe, threads, trained)
        if on_gpu:
            shard.to_gpu(0)  # Ray shows an actor its own GPUs only, numbered from 0
        return shard
    except UserError as error:
        return error
