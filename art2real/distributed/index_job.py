"""Builds the indexes of a bank on a Ray cluster: one task trains a scale, one adds each shard, one audits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.distributed.cluster import largest_node_cpus
from art2real.errors import UserError
from art2real.index import build
from art2real.index.factory import IndexSpec
from art2real.index.learn import train
from art2real.index.manifest import IndexManifest, Part, Request, Trained
from art2real.index.order import Order, order

# Called with steps done, steps in all, and the last step in words.
Progress = Callable[[float, float | None, str], None]

# More threads hardly make the training of one scale faster, and other scales want some.
_MOST_THREADS = 16
_ENDED_FROM_OUTSIDE = (
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.OutOfMemoryError,
)


def build_index(
    bank: Path,
    *,
    factory: str | None = None,
    shards: int | None = None,
    min_recall: float | None = None,
    min_contrast: float | None = None,
    memory: int | None = None,
    seed: int | None = None,
    device: str = "cpu",
    overwrite: bool = False,
    on_progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Builds the index of every scale of a bank; what an interrupted build finished is not done again.

    To an index of a bank that was appended to, the new rows are added: what it learned and its shards stay.
    Options that are None are as the index there has them; without one, or with `overwrite`, their defaults.
    Ray has to be initialised, and the bank's folder the same on every node.

    Args:
        bank: folder of a finished memory bank.
        factory: "auto" (default), or a FAISS factory string for all scales.
        shards: index shards a scale, each held by a process of its own in training (default 1); never more
            than the bank has shards.
        min_recall: recall@1 that the lists scanned for a query are raised to reach (default 0.95).
        min_contrast: rows that differ from the mean patch by less are left out, their direction being noise;
            grey levels (0 to 255), root mean square over a patch's values (default 1).
        memory: bytes that the indexes of all scales may take together; by default, half of the largest
            node's decide the type of "auto".
        seed: of the sample that is trained on and of the audit's queries (default 0).
        device: cpu, or gpu: only types that have a version for the GPU.
        overwrite: build anew what is not exactly what is asked for, an index to which rows were added too.
        on_progress: called as steps end.

    Returns:
        `IndexManifest.summary()` of each scale.

    Raises:
        UsageError: an option is out of range, or FAISS has no such index type.
        UserError: there is no bank, another index, the bank is too small or cannot be written to, or there is
            not enough memory: before anything is written.
    """
    opened = MemoryBank.open(bank)
    orders = order(
        opened,
        node=_largest_node_memory(),
        device=device,
        overwrite=overwrite,
        factory=factory,
        shards=shards,
        min_recall=min_recall,
        min_contrast=min_contrast,
        memory=memory,
        seed=seed,
    )
    manifests = dict(orders.complete)
    if orders.missing:
        manifests.update(_build(opened, orders.missing, on_progress))
    return [manifests[scale].summary() for scale in opened.scales]


def _build(bank: MemoryBank, orders: list[Order], on_progress: Progress | None) -> dict[Scale, IndexManifest]:
    """Runs the stages of all scales beside each other; Ray starts a step when there is memory for it.

    A stage is sent off when the one before it has ended, so that after an error or Ctrl-C no other begins.
    Sending everything off at once and cancelling the rest is not safe: Ray's driver aborts, and whatever else
    its process does with it, if a task is cancelled while what it waits for arrives.
    """
    path = bank.path.resolve()
    threads = _threads(len(orders))
    for each in orders:
        if each.replaces:
            build.discard(bank, each.scale)
    stages = {each.scale: _stages(path, each, threads) for each in orders}
    running = {step: words for scale in stages for step, words in next(stages[scale]).items()}
    total, ended = sum(2 + len(each.shards) for each in orders), 0
    manifests = {}
    while running:
        for step in ray.wait(list(running))[0]:
            scale, words = running.pop(step)
            result = _result(step)
            ended += 1
            if on_progress is not None:
                on_progress(ended, total, f"{scale} {words}")
            if any(scale == other for other, _ in running.values()):
                continue
            following = next(stages[scale], None)
            if following is None:
                manifests[scale] = result
            else:
                running.update(following)
    return manifests


def _stages(bank: Path, each: Order, threads: int) -> Iterator[dict[ray.ObjectRef, tuple[Scale, str]]]:
    """Sends off the steps of a scale, those of a stage together: training, the shards, the audit."""
    scale, need = each.scale, each.memory
    train_here = _train.options(num_cpus=threads, memory=need.train)
    trained = train_here.remote(bank, scale, each.request, each.spec, threads)
    yield {trained: (scale, "trained")}
    parts = {}
    for number, bank_shards in enumerate(each.shards, len(each.kept)):
        part = _add_shard.options(memory=need.add).remote(bank, scale, trained, number, bank_shards)
        parts[part] = scale, f"shard {number} added"
    yield parts
    finish_here = _finish.options(num_cpus=threads, memory=need.audit)
    yield {finish_here.remote(bank, scale, trained, threads, *each.kept, *parts): (scale, "audited")}


def _threads(scales: int) -> int:
    """CPUs of the largest node, shared by the scales that are trained at the same time."""
    return max(1, min(int(largest_node_cpus()) // scales, _MOST_THREADS))


def _largest_node_memory() -> int:
    """Bytes of memory that the node with most of it gives to tasks."""
    return int(max(node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"]))


def _result(step: ray.ObjectRef) -> Any:
    try:
        return ray.get(step)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    except _ENDED_FROM_OUTSIDE:
        raise UserError(
            "a process that built the index was ended from outside, or its node died, again and again: most "
            "likely it needed more memory than there is; finished shards are kept: run build-index again, "
            "with more --shards if it was the memory"
        ) from None


@ray.remote(num_cpus=1)
def _train(bank: Path, scale: Scale, request: Request, spec: IndexSpec, threads: int) -> Trained:
    _use_threads(threads)
    return train(MemoryBank.open(bank), scale, request, spec)


@ray.remote(num_cpus=1)
def _add_shard(bank: Path, scale: Scale, trained: Trained, number: int, shards: tuple[int, ...]) -> Part:
    _use_threads(1)
    return build.add_shard(MemoryBank.open(bank), scale, trained, number, shards)


@ray.remote(num_cpus=1)
def _finish(bank: Path, scale: Scale, trained: Trained, threads: int, *parts: Part) -> IndexManifest:
    _use_threads(threads)
    return build.finish(MemoryBank.open(bank), scale, trained, list(parts))


def _use_threads(threads: int) -> None:
    import faiss
    import torch

    faiss.omp_set_num_threads(threads)
    torch.set_num_threads(threads)
