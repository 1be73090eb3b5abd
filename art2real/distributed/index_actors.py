"""Index shards in processes of their own, on any node, answering all workers of a training run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.errors import UserError
from art2real.index.manifest import check_index
from art2real.index.protocol import Neighbours
from art2real.index.shard import IndexShard

if TYPE_CHECKING:
    from art2real.index.retriever import BankRetriever

# Reading gigabytes from a slow disk takes minutes; waiting longer means that no node has room.
_START_SECONDS = 600.0


@dataclass(frozen=True)
class IndexActors:
    """Handles of running index actors; may be sent to other processes."""

    trained: dict[str, str]
    """By scale's name, the checksum of what its shards share: tells which index they hold."""
    handles: dict[str, tuple[Any, ...]]
    """By scale's name, one actor a shard, in the order of their rows."""

    def stop(self) -> None:
        """Ends the actors. They also end with the process that started them."""
        for handles in self.handles.values():
            for handle in handles:
                ray.kill(handle)


class _ShardActor:
    """One index shard. What it needs to start is a path, so that Ray can start it again anywhere."""

    def __init__(self, path: str, nprobe: int, threads: int, gpu: bool) -> None:
        self._problem: UserError | None = None
        try:
            self._shard = IndexShard.load(Path(path), nprobe, threads)
            if gpu:
                self._shard.to_gpu(0)  # Ray shows an actor its own GPUs only, numbered from 0
        except UserError as error:
            # Raised by each call instead: an actor that cannot be made only says that it died.
            self._problem = error

    def search(self, unit_queries: np.ndarray, k: int) -> Neighbours:
        return self._loaded().search(unit_queries, k)

    def cell_sizes(self) -> np.ndarray:
        return self._loaded().cell_sizes()

    def rows_at(self, cells: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        return self._loaded().rows_at(cells, offsets)

    def _loaded(self) -> IndexShard:
        if self._problem is not None:
            raise self._problem
        return self._shard


def start_index_actors(
    bank: Path, scales: Sequence[Scale], *, num_cpus: float, num_gpus: float, threads: int
) -> IndexActors:
    """Starts one actor for each index shard of the given scales, and waits until all have loaded.

    Ray has to be initialised, and the bank's folder the same on every node. An actor that dies is started
    again, on another node if need be, and its unanswered queries are put to it again.

    Args:
        bank: folder of a memory bank with an index.
        num_cpus: CPUs that an actor claims. num_gpus: share of a GPU; above 0 the index is copied onto it.
        threads: that a search uses on the CPU.

    Raises:
        UserError: no index, one that does not belong to the bank, a damaged file, or no room for an actor.
    """
    opened = MemoryBank.open(bank)
    actor = ray.remote(_ShardActor).options(
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        max_restarts=-1,
        max_task_retries=-1,
        scheduling_strategy="SPREAD",
    )
    trained: dict[str, str] = {}
    handles: dict[str, tuple[Any, ...]] = {}
    for scale in scales:
        manifest = check_index(opened, scale)
        trained[scale.name] = manifest.trained.identity
        handles[scale.name] = tuple(
            actor.remote(str((bank / part.file.path).resolve()), manifest.nprobe, threads, num_gpus > 0)
            for part in manifest.parts
        )
    actors = IndexActors(trained, handles)
    try:
        every = [handle for scale_handles in handles.values() for handle in scale_handles]
        _answers([handle.cell_sizes.remote() for handle in every], timeout=_START_SECONDS)
    except BaseException:
        actors.stop()
        raise
    return actors


def open_actor_retriever(bank: MemoryBank, scale: Scale, actors: IndexActors) -> BankRetriever:
    """The retriever of a scale whose shards are held by `actors`: the same answers as `open_retriever`'s.

    Raises:
        UserError: the actors hold no index of this scale of the bank, or an older one.
    """
    # An actor imports this module too, and has no use for torch.
    from art2real.index.retriever import BankRetriever

    trained = check_index(bank, scale).trained
    if actors.trained.get(scale.name) != trained.identity:
        raise UserError(
            f"the index actors hold another index than bank {bank.path} has at scale {scale}; "
            "start them again"
        )
    return BankRetriever(bank, scale, ActorShards(actors.handles[scale.name]), trained)


class ActorShards:
    """Implements `art2real.index.protocol.Shards`: all shards are asked at once."""

    def __init__(self, handles: Sequence[Any]) -> None:
        self.handles = tuple(handles)

    def search(self, unit_queries: np.ndarray, k: int) -> list[Neighbours]:
        queries = ray.put(unit_queries)  # once for all shards
        return _answers([handle.search.remote(queries, k) for handle in self.handles])

    def cell_sizes(self) -> list[np.ndarray]:
        return _answers([handle.cell_sizes.remote() for handle in self.handles])

    def rows_at(self, cells: Sequence[np.ndarray], offsets: Sequence[np.ndarray]) -> list[np.ndarray]:
        asked = zip(self.handles, cells, offsets, strict=True)
        return _answers([handle.rows_at.remote(mine, at) for handle, mine, at in asked])


def _answers(requests: list[ray.ObjectRef], timeout: float | None = None) -> list[Any]:
    try:
        answers: list[Any] = ray.get(requests, timeout=timeout)
        return answers
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    except ray.exceptions.GetTimeoutError:
        raise UserError(
            f"the index actors did not start within {timeout:.0f} seconds: the cluster has no room for "
            f"{len(requests)} of them; give it more CPUs or GPUs, or let each claim less"
        ) from None
    except ray.exceptions.RayActorError:
        raise UserError(
            "an index actor is lost and was not started again: it was stopped, or the process that started "
            "it has ended; start the run again"
        ) from None
