"""Which index types go onto a GPU, and how their rows are stored there. What is said here needs no GPU.

Read from the conversion that FAISS does (`index_cpu_to_gpu`). The classes are compared by name: a class
derived from a supported one, such as `IndexIVFFlatPanorama`, stores its rows in another way.
"""

from __future__ import annotations

import logging
from typing import Any

import faiss

_log = logging.getLogger("art2real")

TEMPORARY_BYTES = 256 * 2**20
"""GPU memory for a search's intermediate results, bounded; FAISS would take 1.5 GiB."""

MOST_NEIGHBOURS = 2048
"""Neighbours, and lists scanned, that a search on the GPU can be asked for."""

_CODES_OF_PQ = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)
_SCALAR_CODES = {
    getattr(faiss.ScalarQuantizer, name): bits
    for name, bits in {
        "QT_fp16": "float16",
        "QT_8bit": "8-bit codes",
        "QT_8bit_uniform": "8-bit codes",
        "QT_8bit_direct": "8-bit codes",
        "QT_6bit": "6-bit codes",
        "QT_4bit": "4-bit codes",
        "QT_4bit_uniform": "4-bit codes",
    }.items()
}


def gpu_storage(index: Any) -> str | None:
    """How the rows of an index would be stored on a GPU, in words; None if its type has no GPU version."""
    index = faiss.downcast_index(index)
    kind = type(index).__name__
    if kind == "IndexPreTransform":
        return gpu_storage(index.index)
    if kind in ("IndexFlat", "IndexFlatIP", "IndexFlatL2"):
        return "float16"
    if kind == "IndexIVFFlat":
        return "float32"  # FAISS has half precision in lists as IVF,SQfp16 alone
    if kind == "IndexIVFScalarQuantizer":
        return _SCALAR_CODES.get(index.sq.qtype)
    if kind == "IndexIVFPQ" and index.pq.nbits == 8 and index.pq.M in _CODES_OF_PQ:
        return f"{index.pq.M}-byte codes"
    return None


def resources() -> Any:
    """What a copy on a GPU works with: `faiss.StandardGpuResources` of bounded size.

    Raises:
        RuntimeError: this FAISS was built without GPUs, or there is none.
    """
    if not hasattr(faiss, "StandardGpuResources"):
        raise RuntimeError("this FAISS was built without GPU support; install faiss-gpu")
    found = faiss.StandardGpuResources()
    found.setTempMemory(TEMPORARY_BYTES)
    return found


def clone(resources: Any, device: int, index: Any) -> Any:
    """Copies an index that has a GPU version onto GPU `device`, and says in the log how it is stored.

    Raises:
        RuntimeError: there is no such GPU, or it has no room.
    """
    options = faiss.GpuClonerOptions()
    options.useFloat16 = True  # rows of a flat index, tables of product codes; others keep their codes
    options.useFloat16CoarseQuantizer = False  # every query has to scan the lists that it scans on a CPU
    options.allowCpuCoarseQuantizer = True  # an HNSW over the centroids stays on the CPU
    copy = faiss.index_cpu_to_gpu(resources, device, index, options)
    _log.info("index on GPU %d, rows stored as %s", device, gpu_storage(index))
    return copy


def say_that_it_stays(device: int) -> None:
    """Says in the log that an index is searched on the CPU although a GPU was offered."""
    _log.warning(
        "this index type has no GPU version: it is searched on the CPU, not on GPU %d; "
        "build-index --device gpu chooses one that has",
        device,
    )
