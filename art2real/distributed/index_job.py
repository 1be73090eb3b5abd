"""Builds the indexes of a bank on a Ray cluster: one task trains a scale, one adds each shard, one audits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.distributed.cluster import largest_node_cpus
from art2real.errors import UsageError, UserError
from art2real.index import build
from art2real.index.factory import resolve
from art2real.index.learn import train
from art2real.index.manifest import IndexManifest, Part, Request, Trained

# Called with steps done, steps in all, and the last step in words.
Progress = Callable[[float, float | None, str], None]

# More threads hardly make the training of one scale faster, and other scales want some.
_MOST_THREADS = 16


def build_index(
    bank: Path,
    *,
    factory: str = "auto",
    shards: int = 1,
    min_recall: float = 0.95,
    min_contrast: float = 1.0,
    seed: int = 0,
    overwrite: bool = False,
    on_progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Builds the index of every scale of a bank; what an interrupted build finished is not done again.

    Ray has to be initialised, and the bank's folder the same on every node.

    Args:
        bank: folder of a finished memory bank.
        factory: "auto", or a FAISS factory string for all scales.
        shards: index shards a scale, each held by a process of its own in training; never more than the bank
            has shards.
        min_recall: recall@1 that the lists scanned for a query are raised to reach.
        min_contrast: rows that differ from the mean patch by less are left out, their direction being noise;
            grey levels (0 to 255), root mean square over a patch's values.
        seed: of the sample that is trained on and of the audit's queries.
        overwrite: replace a complete index that was asked for otherwise; the same index is kept anyway.
        on_progress: called as steps end.

    Returns:
        `IndexManifest.summary()` of each scale.

    Raises:
        UsageError: an option is out of range, or FAISS has no such index type.
        UserError: there is no bank, another index, or the bank is too small or cannot be written to.
    """
    opened = MemoryBank.open(bank)
    request = _request(opened, factory, shards, min_recall, min_contrast, seed)
    manifests: dict[Scale, IndexManifest] = {}
    for scale in opened.scales:
        try:
            known = build.finished(opened, scale, request)
        except UserError:
            if not overwrite:
                raise
            known = None
            build.discard(opened, scale)
        if known is not None:
            manifests[scale] = known
    missing = [scale for scale in opened.scales if scale not in manifests]
    if missing:
        manifests.update(_build(opened, missing, request, on_progress))
    return [manifests[scale].summary() for scale in opened.scales]


def _request(
    bank: MemoryBank, factory: str, shards: int, min_recall: float, min_contrast: float, seed: int
) -> Request:
    build.plan(bank, shards)
    if not 0 <= min_recall <= 1:
        raise UsageError(f"--min-recall must be between 0 and 1, got {min_recall:g}")
    if not 0 <= min_contrast <= 255:
        raise UsageError(f"--min-contrast must be between 0 and 255 grey levels, got {min_contrast:g}")
    for scale in bank.scales:
        resolve(factory, scale.dimension, bank.rows(scale))
    return Request(
        factory=factory, shards=shards, min_recall=min_recall, min_contrast=min_contrast, seed=seed
    )


def _build(
    bank: MemoryBank, scales: list[Scale], request: Request, on_progress: Progress | None
) -> dict[Scale, IndexManifest]:
    """Sends all steps off at once; Ray starts each when what it needs is there."""
    path = bank.path.resolve()
    threads = _threads(len(scales))
    whole = {"num_cpus": threads}
    words: dict[ray.ObjectRef, str] = {}
    last: dict[Scale, ray.ObjectRef] = {}
    for scale in scales:
        trained = _train.options(**whole).remote(path, scale, request, threads)
        words[trained] = f"{scale} trained"
        parts = []
        for number, bank_shards in enumerate(build.plan(bank, request.shards)):
            part = _add_shard.remote(path, scale, trained, number, bank_shards)
            words[part] = f"{scale} shard {number} added"
            parts.append(part)
        last[scale] = _finish.options(**whole).remote(path, scale, trained, threads, *parts)
        words[last[scale]] = f"{scale} audited"
    waiting = list(words)
    try:
        while waiting:
            ready, waiting = ray.wait(waiting)
            for step in ready:
                _result(step)
                if on_progress is not None:
                    on_progress(len(words) - len(waiting), len(words), words[step])
    finally:
        for step in waiting:  # after an error or Ctrl-C nothing more is wanted
            ray.cancel(step)
    return {scale: _result(step) for scale, step in last.items()}


def _threads(scales: int) -> int:
    """CPUs of the largest node, shared by the scales that are trained at the same time."""
    return max(1, min(int(largest_node_cpus()) // scales, _MOST_THREADS))


def _result(step: ray.ObjectRef) -> Any:
    try:
        return ray.get(step)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    except ray.exceptions.WorkerCrashedError:
        raise UserError(
            "a process that built the index was ended from outside, again and again: most likely it needed "
            "more memory than there is; finished shards are kept: run build-index again with more --shards"
        ) from None


@ray.remote(num_cpus=1)
def _train(bank: Path, scale: Scale, request: Request, threads: int) -> Trained:
    _use_threads(threads)
    return train(MemoryBank.open(bank), scale, request)


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
