"""Index shards in processes of their own, on any node, answering all workers of a training run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from art2real.config.tree import Cluster
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.manifest import digest
from art2real.distributed.actor_shards import ActorShards, ScaleActors
from art2real.distributed.index_actor import IndexActor
from art2real.errors import UserError
from art2real.index.manifest import IndexManifest, check_index

if TYPE_CHECKING:
    from art2real.distributed.placement import Place
    from art2real.index.retriever import BankRetriever
    from art2real.index.unplaced import Group

# Reading gigabytes from a slow disk takes minutes, and so does an autoscaler that brings a node.
_START_SECONDS = 600.0


@dataclass(frozen=True)
class IndexActors:
    """Running index actors; may be sent to other processes."""

    indexes: dict[str, str]
    """By scale's name, `_identity` of the index that they hold."""
    scales: dict[str, ScaleActors]
    """By scale's name."""
    cluster: Cluster
    """How they were started and are asked."""
    own_patches: bool
    """Whether patches are fetched from them."""

    @property
    def handles(self) -> list[Any]:
        """Of all actors, replicas included."""
        return [handle for actors in self.scales.values() for each in actors.replicas for handle in each]

    def stop(self) -> None:
        """Ends the actors. They also end with the process that started them."""
        for handle in self.handles:
            ray.kill(handle)


def start_index_actors(
    bank: Path, scales: Sequence[Scale], cluster: Cluster, worker_bytes: int | None = None
) -> IndexActors:
    """Starts the index actors of the given scales as `cluster` says, and waits until all have loaded.

    Ray has to be initialised, and the bank's folder the same on every node. Before the first one is started,
    there is a node for each. An actor that dies is started again, on another node if need be, and its
    unanswered queries are asked again (see `ActorShards`).

    Args:
        worker_bytes: memory of each of the training workers that will run beside, which room is left for
            where it can be; None: there will be none.

    Raises:
        UserError: no index, one that does not belong to the bank, a damaged file, or no room for an actor.
    """
    # It knows FAISS and torch, of which an actor needs only the former.
    from art2real.distributed.placement import find_places

    opened = MemoryBank.open(bank)
    manifests = {scale: check_index(opened, scale) for scale in scales}
    placed = find_places(opened, manifests, cluster, worker_bytes=worker_bytes, seconds=_START_SECONDS)
    indexes = {scale.name: _identity(manifest) for scale, manifest in manifests.items()}
    started = {
        scale.name: _start(
            bank.resolve(), manifest, cluster, [each for each in placed if each[0].scale == scale]
        )
        for scale, manifest in manifests.items()
    }
    from_owners = cluster.patches_from == "owners" or (
        cluster.patches_from == "auto" and sum(node["Alive"] for node in ray.nodes()) > 1
    )
    actors = IndexActors(indexes, started, cluster, from_owners)
    try:
        sizes = _wait_until_loaded(actors.handles)
    except BaseException:
        actors.stop()
        raise
    of = dict(zip(actors.handles, sizes, strict=True))
    loaded = {
        name: replace(each, cell_sizes=tuple(size for handles in each.replicas for size in of[handles[0]]))
        for name, each in started.items()
    }
    return replace(actors, scales=loaded)


def open_actor_retriever(bank: MemoryBank, scale: Scale, actors: IndexActors) -> BankRetriever:
    """The retriever of a scale whose shards are held by `actors`: the same answers as `open_retriever`'s.

    Raises:
        UserError: the actors hold no index of this scale of the bank, or an older one.
    """
    # An actor imports no torch, and this module is imported where it is started.
    from art2real.index.retriever import BankRetriever

    manifest = check_index(bank, scale)
    if actors.indexes.get(scale.name) != _identity(manifest):
        raise UserError(
            f"the index actors hold another index than bank {bank.path} has at scale {scale}; "
            "start them again"
        )
    shards = ActorShards(
        bank, scale, actors.scales[scale.name], actors.cluster, from_owners=actors.own_patches
    )
    return BankRetriever(bank, scale, shards, manifest.trained, fetcher=shards)


def _identity(manifest: IndexManifest) -> str:
    """Tells an index from others, and from what it was before rows were added."""
    return digest([manifest.trained.identity, *(part.file.checksum for part in manifest.parts)])


def _start(
    bank: Path, manifest: IndexManifest, cluster: Cluster, placed: Sequence[tuple[Group, tuple[Place, ...]]]
) -> ScaleActors:
    """Starts the actors of one scale, without waiting for them."""
    on_gpu = cluster.index_gpus > 0
    actor = ray.remote(
        num_cpus=cluster.index_cpus,
        num_gpus=cluster.index_gpus,
        max_restarts=-1,
        max_task_retries=0,  # who asks knows the time limit and the other replicas
        concurrency_groups={"rows": 1, "health": 1},
    )(IndexActor)
    replicas = tuple(
        tuple(
            actor.options(**place.options).remote(
                str(bank),
                str(group.scale),
                [str(bank / manifest.parts[shard].file.path) for shard in group.shards],
                manifest.trained.identity,
                manifest.nprobe,
                max(1, round(cluster.index_cpus)),
                on_gpu,
            )
            for place in places
        )
        for group, places in placed
    )
    held = tuple(group.shards for group, _ in placed)
    return ScaleActors(tuple(part.first_row for part in manifest.parts), held, replicas)


def _wait_until_loaded(handles: Sequence[Any]) -> list[list[np.ndarray]]:
    """By actor and shard, the rows of each cell."""
    try:
        loaded = ray.get([handle.cell_sizes.remote() for handle in handles], timeout=_START_SECONDS)
    except ray.exceptions.GetTimeoutError:
        raise UserError(
            f"the index actors did not start within {_START_SECONDS:g} seconds: there was room for "
            f"{len(handles)} of them, but others took it, or their shards are read too slowly; look at the "
            "cluster's other work, and at the bank's file system"
        ) from None
    except ray.exceptions.RayActorError as error:
        raise UserError(
            f"an index actor died while it loaded its shards ({str(error).splitlines()[0][:120]}); "
            "look whether its node has memory for them"
        ) from None
    for answers in loaded:
        for answer in answers:
            if isinstance(answer, UserError):
                raise answer
    return loaded
