from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from art2real.core.scale import Scale
from art2real.errors import UserError
from art2real.index import estimate
from art2real.index.estimate import check_memory, choose, in_words, index_bytes, task_memory
from art2real.index.factory import candidates, inverted_lists, parse

ROWS = {Scale(16, 6): 3_000_000, Scale(8, 5): 5_000_000, Scale(4, 4): 8_000_000}
ALLOWED = {scale: candidates("auto", scale.dimension, rows) for scale, rows in ROWS.items()}
GB = 10**9


def chosen(memory: int | None) -> dict[str, str]:
    return {str(scale): spec.factory for scale, spec in choose(ALLOWED, ROWS, memory).items()}


def test_without_a_limit_the_finest_are_chosen() -> None:
    assert chosen(None) == {
        "16:6": "PCA56,IVF8192,SQfp16",
        "8:5": "PCA56,IVF8192,SQfp16",
        "4:4": "IVF8192,SQfp16",
    }


def test_memory_makes_them_coarser_where_it_saves_most() -> None:
    assert chosen(1_700_000_000)["4:4"] == "IVF8192,SQ8"
    assert chosen(1_700_000_000)["16:6"] == "PCA56,IVF8192,SQfp16"
    assert chosen(1_100_000_000)["8:5"] == "PCA64,IVF8192,SQ8"
    assert chosen(600_000_000) == {
        "16:6": "OPQ32_128,IVF8192,PQ32",
        "8:5": "OPQ32_64,IVF8192,PQ32",
        "4:4": "IVF8192,PQ24",
    }


@given(memory=st.integers(0, 3 * GB))
def test_what_is_chosen_fits_or_nothing_would(memory: int) -> None:
    def total(specs) -> int:
        return sum(index_bytes(spec, scale.dimension, ROWS[scale]) for scale, spec in specs.items())

    least = total({scale: specs[-1] for scale, specs in ALLOWED.items()})
    if memory < least:
        with pytest.raises(UserError, match=r"does not fit into .*--memory"):
            choose(ALLOWED, ROWS, memory)
    else:
        assert least <= total(choose(ALLOWED, ROWS, memory)) <= memory


def test_one_type_that_is_too_large_is_refused() -> None:
    scale = Scale(16, 6)
    allowed = {scale: candidates("IVF4096,Flat", 768, 3_000_000)}
    with pytest.raises(UserError, match=r"^an index of 9\.3 GB does not fit .*more --memory") as refused:
        choose(allowed, {scale: 3_000_000}, GB)
    assert "\n" not in str(refused.value)


def test_a_step_that_is_too_large_says_how_many_shards_fit() -> None:
    scale, rows, node = Scale(16, 6), 6_000_000, 10 * GB
    spec = parse("IVF4096,Flat", 768)
    need = task_memory(spec, 768, rows, rows)
    with pytest.raises(UserError) as refused:
        check_memory(scale, spec, need, node, 1)
    message = str(refused.value)
    assert message.startswith("index IVF4096,Flat at scale 16:6: its largest shard takes ")
    shards = int(message.split("--shards ")[1].split(",")[0])
    check_memory(scale, spec, task_memory(spec, 768, rows, rows // shards), node, shards)
    with pytest.raises(UserError, match=r"training it takes .*a type of fewer lists"):
        check_memory(scale, spec, need, GB, 1)


def test_training_behind_a_transform_takes_less() -> None:
    wide, reduced = parse("IVF4096,SQ8", 768), parse("PCA64,IVF4096,SQ8", 768)
    assert task_memory(reduced, 768, 10**6, 10**6).train < task_memory(wide, 768, 10**6, 10**6).train / 2
    assert task_memory(parse("Flat", 768), 768, 100, 100).train < GB


def test_bytes_are_said_in_words() -> None:
    assert [in_words(count) for count in (1_500_000, 99_000_000, 18 * GB)] == ["1.5 MB", "99.0 MB", "18.0 GB"]


@pytest.mark.parametrize("factory", ["IVF64,PQ32", "OPQ32_64,IVF64,PQ32", "PCA64,IVF64,SQ8", "IVF64,Flat"])
def test_the_table_of_a_product_quantizer_is_counted(factory, monkeypatch):
    """FAISS makes it beside the index wherever that is trained or loaded; no file has it."""
    dimension, rows = 96, 64 * 40
    spec = parse(factory, dimension)
    index = spec.new(dimension)
    patches = np.random.default_rng(0).normal(size=(rows, dimension)).astype(np.float32)
    index.train(patches)
    ivf = faiss.downcast_index(inverted_lists(index))
    table = 4 * ivf.precomputed_table.size() if isinstance(ivf, faiss.IndexIVFPQ) else 0
    assert (table > 0) == ("PQ32" in factory)
    with_table = task_memory(spec, dimension, rows, rows)
    monkeypatch.setattr(estimate, "_MOST_TABLE", 0)
    without = task_memory(spec, dimension, rows, rows)
    for step in ("train", "add", "audit"):
        assert getattr(with_table, step) - getattr(without, step) == table
