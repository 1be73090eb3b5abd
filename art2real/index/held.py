"""What a process takes that holds shards of an index: known from the manifest, before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from art2real.core.scale import Scale
from art2real.index import gpu
from art2real.index.estimate import index_bytes, products_table
from art2real.index.factory import IndexSpec, list_count_of
from art2real.index.manifest import IndexManifest
from art2real.index.sized import sized_candidates

# Measured on 2 cores with FAISS 1.15 and files of 160 to 210 MB (Flat, SQfp16, SQ8, PQ32): reading one makes
# a process larger by 1.006 of its bytes, and never by more; with product codes in lists also by the table of
# products, 1.016 of both together.
_BYTES_A_BYTE = 1.02
# An index actor's own memory before it holds a shard is 205 MB, and 223 MB when it has answered some thousand
# queries and fetched patches; the 220 MB of libraries beside are the same for all processes of a node.
_PROCESS = 250_000_000
# Its context and libraries on a GPU, from what NVIDIA's tools usually show; not measured here.
_GPU_PROCESS = 500_000_000
# A row that is left out: its number, and how many rows are before it.
_LEFT_OUT_ROW = 16


@dataclass(frozen=True)
class Held:
    """Bytes of one process that holds shards."""

    memory: int
    gpu_memory: int
    """Where it searches on a GPU, which leaves the CPU's copy in memory; 0: the type has no GPU version."""


def held(manifest: IndexManifest, scale: Scale, shards: Iterable[int]) -> Held:
    """Of the shards with these numbers, by the sizes of their files."""
    parts = [manifest.parts[number] for number in shards]
    files = [part.file.bytes + _LEFT_OUT_ROW * part.left_out.rows for part in parts]
    return _held(as_built(manifest, scale), scale, files)


def estimated(spec: IndexSpec, scale: Scale, rows: Iterable[int]) -> Held:
    """Of shards with so many rows each, were the index of this type."""
    return _held(spec, scale, [index_bytes(spec, scale.dimension, each, 0) for each in rows])


def as_built(manifest: IndexManifest, scale: Scale) -> IndexSpec:
    """The type of an index that there is; makes no room for its lists."""
    [spec] = sized_candidates(manifest.trained.factory, scale.dimension, manifest.covers.rows)
    return spec


def _held(spec: IndexSpec, scale: Scale, files: list[int]) -> Held:
    index = spec.new(scale.dimension)
    memory = _PROCESS + int(_BYTES_A_BYTE * (sum(files) + products_table(index) * len(files)))
    if gpu.gpu_storage(index) is None:
        return Held(memory, 0)
    # Rows of an index without lists are halved there, see `gpu.clone`.
    codes = sum(files) if list_count_of(index) else sum(files) // 2
    return Held(memory, codes + gpu.TEMPORARY_BYTES + _GPU_PROCESS)
