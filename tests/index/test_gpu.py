"""What needs no GPU: which types go onto one, and what happens when it has no room."""

from __future__ import annotations

import logging

import faiss
import numpy as np
import pytest

from art2real.errors import UserError
from art2real.index.gpu import gpu_storage
from art2real.index.left_out import RowNumbers
from art2real.index.shard import IndexShard


@pytest.mark.parametrize(
    ("factory", "storage"),
    [
        ("Flat", "float16"),
        ("PCA32,Flat", "float16"),
        ("IVF4,Flat", "float32"),
        ("IVF4,SQfp16", "float16"),
        ("PCA32,IVF4,SQfp16", "float16"),
        ("OPQ8_32,IVF4,PQ8", "8-byte codes"),
        ("IVF4,PQ24", "24-byte codes"),
        ("IVF4,PQ6", None),
        ("IVF4,PQ8x4", None),
        ("IVF4,SQ8", "8-bit codes"),
        ("IVF4,SQ6", "6-bit codes"),
        ("IVF4,SQbf16", None),
        ("IVF4_HNSW8,SQ8", "8-bit codes"),
        ("SQ8", None),
        ("HNSW16", None),
        ("PQ16x4fs", None),
        ("IVF4,PQ16x4fs", None),
        ("IVF4,RaBitQ", None),
        ("IVF4,FlatPanorama4", None),
        ("IVF4,SQ8,RFlat", None),
    ],
)
def test_how_each_type_would_be_stored(factory: str, storage: str | None) -> None:
    assert gpu_storage(faiss.index_factory(48, factory)) == storage


def shard(factory: str) -> IndexShard:
    index = faiss.index_factory(8, factory)
    index.add(np.eye(8, dtype=np.float32))
    return IndexShard(index, RowNumbers(0))


def test_a_type_without_a_gpu_version_stays_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    graph = shard("HNSW8")
    with caplog.at_level(logging.WARNING, logger="art2real"):
        graph.to_gpu(0)
    assert "searched on the CPU, not on GPU 0" in caplog.text
    assert graph.search(np.eye(8, dtype=np.float32)[:2], 1)[1].tolist() == [[0], [1]]


def test_a_gpu_without_room_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> None:
        raise RuntimeError("Error in virtual void* allocMemory at StandardGpuResources.cpp:1:\nout of memory")

    class Resources:
        def setTempMemory(self, count: int) -> None:  # noqa: N802
            assert count <= 2**28

    monkeypatch.setattr(faiss, "StandardGpuResources", Resources, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", no_room, raising=False)
    flat = shard("Flat")
    with pytest.raises(UserError, match=r"does not go onto GPU 1: out of memory; give .*--shards") as refused:
        flat.to_gpu(1)
    assert "\n" not in str(refused.value)
    assert flat.search(np.eye(8, dtype=np.float32)[:1], 1)[1].tolist() == [[0]]


def test_a_faiss_without_gpus_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(faiss, "StandardGpuResources", raising=False)
    with pytest.raises(UserError, match="built without GPU support; install faiss-gpu"):
        shard("Flat").to_gpu(0)
