"""What is to be built of a bank's indexes, decided and checked before anything is written."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.errors import UsageError
from art2real.index.build import ask, finished, is_current, kept_parts, plan
from art2real.index.estimate import TaskMemory, check_memory, choose, index_bytes, task_memory
from art2real.index.factory import IndexSpec, candidates
from art2real.index.gpu import gpu_storage
from art2real.index.learn import known_training
from art2real.index.manifest import MANIFEST, IndexManifest, Part, Request, index_folder


@dataclass(frozen=True)
class Order:
    """What is to be built of the index of one scale."""

    scale: Scale
    request: Request
    spec: IndexSpec
    replaces: bool
    """There is another index, to be deleted first."""
    kept: tuple[Part, ...]
    """Shards of the index before rows were appended."""
    shards: list[tuple[int, ...]]
    """The bank shards of each index shard to be added, numbered on from those kept."""
    memory: TaskMemory


@dataclass(frozen=True)
class Orders:
    """What is to be built, and the indexes that are complete."""

    missing: list[Order]
    complete: dict[Scale, IndexManifest]


def order(
    bank: MemoryBank, *, node: int, device: str = "cpu", overwrite: bool = False, **given: Any
) -> Orders:
    """Decides what is to be built, of which type, and whether there is memory for it.

    Args:
        node: bytes of memory of the largest node; half of them are the limit of all indexes together where
            the type is to be chosen and no memory is given.
        device: cpu, or gpu: only types that have a version for the GPU.
        overwrite: an index that is not exactly what is asked for is replaced. Otherwise it is refused, but
            for one that lacks appended rows only: these are added.
        given: fields of `Request`; None: see `art2real.index.build.ask`.

    Raises:
        UsageError: an option is out of range, or FAISS has no such index type, or none for the GPU.
        UserError: there is another index, or the one asked for does not fit.
    """
    requests = {scale: ask(bank, scale, anew=overwrite, **given) for scale in bank.scales}
    rows = {scale: bank.rows(scale) for scale in bank.scales}
    allowed = {
        scale: candidates(request.factory, scale.dimension, rows[scale])
        for scale, request in requests.items()
    }
    complete: dict[Scale, IndexManifest] = {}
    replaced: set[Scale] = set()
    for scale, request in requests.items():
        if overwrite and _exists(bank, scale) and not is_current(bank, scale, request):
            replaced.add(scale)
            continue
        manifest = finished(bank, scale, request)
        if manifest is not None:
            complete[scale] = manifest
            del allowed[scale]
            continue
        trained = known_training(bank, scale, request)
        if trained is not None:
            allowed[scale] = [IndexSpec(trained.factory, trained.metric, trained.nprobe, trained.rerank)]
    if device == "gpu":
        _check_gpu(allowed)
    specs = choose(allowed, rows, _limit(list(requests.values()), allowed, complete, node))
    missing = []
    for scale, spec in specs.items():
        kept = () if scale in replaced else kept_parts(bank, scale)
        shards = plan(bank, requests[scale].shards, kept)
        in_bank = bank.shard_rows(scale)
        largest = max(sum(len(in_bank[number]) for number in part) for part in shards)
        largest = max(largest, *(part.rows for part in kept)) if kept else largest
        need = task_memory(spec, scale.dimension, rows[scale], largest)
        check_memory(scale, spec, need, node, requests[scale].shards)
        missing.append(Order(scale, requests[scale], spec, scale in replaced, kept, shards, need))
    return Orders(missing, complete)


def expected(bank: Path, *, here: bool = True, **options: Any) -> list[dict[str, Any]]:
    """What `order` would build for each scale of a bank, in figures; builds nothing.

    Args:
        here: whether on this machine, whose memory then is what there is; otherwise it is taken as plenty.
        options: of `order`.

    Raises:
        UsageError, UserError: as `order` does, or there is no bank.
    """
    opened = MemoryBank.open(bank)
    orders = order(opened, node=free_memory() if here else sys.maxsize, **options)
    plans = []
    for scale in opened.scales:
        rows = opened.rows(scale)
        plan: dict[str, Any] = {"size": scale.size, "stride": scale.stride, "rows": rows}
        if scale in orders.complete:
            manifest = orders.complete[scale]
            plan.update(factory=manifest.trained.factory, shards=len(manifest.parts), bytes=manifest.bytes)
            plan.update(complete=True, memory=0)
        else:
            this = next(each for each in orders.missing if each.scale == scale)
            shards = len(this.kept) + len(this.shards)
            size = index_bytes(this.spec, scale.dimension, rows, shards)
            plan.update(factory=this.spec.factory, shards=shards, bytes=size)
            plan.update(complete=False, memory=this.memory.most)
        plans.append(plan)
    return plans


def free_memory() -> int:
    """Bytes of this machine's memory that are free for a new process; all of them where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _exists(bank: MemoryBank, scale: Scale) -> bool:
    return (index_folder(bank.path, scale) / MANIFEST).exists()


def _check_gpu(allowed: dict[Scale, list[IndexSpec]]) -> None:
    for scale, specs in allowed.items():
        for spec in specs:
            if gpu_storage(spec.new(scale.dimension)) is None:
                raise UsageError(
                    f"--device gpu: FAISS has no version of {spec.factory} for the GPU; write auto, or a "
                    "type such as Flat, IVF1024,SQfp16 or PCA64,IVF1024,SQ8"
                )


def _limit(
    requests: list[Request],
    allowed: dict[Scale, list[IndexSpec]],
    complete: dict[Scale, IndexManifest],
    node: int,
) -> int | None:
    """Bytes for the indexes that are to be built; None: no limit."""
    given = [request.memory for request in requests if request.memory is not None]
    if not given and all(len(specs) == 1 for specs in allowed.values()):
        return None
    return min(given, default=node // 2) - sum(manifest.bytes for manifest in complete.values())
