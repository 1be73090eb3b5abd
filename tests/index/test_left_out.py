from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.checksums import file_xxh3
from art2real.errors import UserError
from art2real.index.build import add_shard, discard, finished, plan
from art2real.index.exact import ExactRetriever
from art2real.index.learn import train
from art2real.index.left_out import RowNumbers
from art2real.index.manifest import IndexManifest, Part, index_folder
from art2real.index.queries import make_queries
from art2real.index.retriever import BankRetriever, open_retriever, unit_rows_and_norms
from art2real.index.shard import IndexShard
from tests.index.banks import NARROW, WIDE, index_bank, make_half_plain_bank, request

TYPES = ["Flat", "PCA64,IVF8,SQfp16", "IVF8,SQ8", "HNSW16", "PQ16x4fs", "IVF8,Flat,RFlat"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MemoryBank:
    return make_half_plain_bank(tmp_path_factory.mktemp("bank"))


@pytest.fixture
def bank(made: MemoryBank, tmp_path: Path) -> MemoryBank:
    shutil.copytree(made.path, tmp_path / "bank")
    return MemoryBank.open(tmp_path / "bank")


def shards_of(bank: MemoryBank, parts: list[Part]) -> list[IndexShard]:
    return [IndexShard.load(bank.path / part.file.path, 8, threads=1) for part in parts]


def plain_rows(bank: MemoryBank, scale: Scale) -> np.ndarray:
    """Rows of the mean's colour: those that lie in a photo's right half."""
    return np.flatnonzero(bank.locate(scale, np.arange(bank.rows(scale)))[2] >= 24)


def opened(
    bank: MemoryBank, scale: Scale, factory: str, *, shards: int = 1, min_contrast: float = 1.0
) -> tuple[BankRetriever, IndexManifest]:
    discard(bank, scale)
    manifest = index_bank(bank, scale, request(factory, shards=shards, min_contrast=min_contrast))
    return open_retriever(bank, scale, threads=1), manifest


@given(
    held=st.lists(st.booleans(), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=4),
)
def test_positions_are_the_rows_that_are_held(held: list[bool], cuts: list[int]) -> None:
    ends = sorted({0, len(held), *(cut for cut in cuts if cut < len(held))})
    for first, end in pairwise(ends):
        rows = [row for row in range(first, end) if held[row]]
        left_out = np.array([row for row in range(first, end) if not held[row]], np.int64)
        found = RowNumbers(first, left_out).of(np.arange(len(rows)))
        assert found.tolist() == rows
        assert found.dtype == np.int64


def test_positions_keep_their_shape() -> None:
    assert RowNumbers(10, np.array([11, 12])).of(np.array([[0, 1], [2, 0]])).tolist() == [[10, 13], [14, 10]]


def test_norms_are_lengths_of_centred_rows(made: MemoryBank) -> None:
    vectors, mean = made.vectors(WIDE, np.arange(made.rows(WIDE))), made.mean(WIDE)
    norms = unit_rows_and_norms(vectors, mean)[1]
    assert norms.dtype == np.float32
    expected = np.linalg.norm(vectors.astype(np.float64) - mean, axis=1)
    np.testing.assert_allclose(norms, expected, rtol=1e-6, atol=1e-6)
    # To the bit, or a row at the threshold would be in or out depending on the shard that it is in.
    one_by_one = [unit_rows_and_norms(vectors[row : row + 1], mean)[1][0] for row in range(200)]
    np.testing.assert_array_equal(norms[:200], one_by_one)


@pytest.mark.parametrize("factory", TYPES)
@pytest.mark.parametrize("shards", [1, 3])
def test_plain_rows_are_never_returned(bank: MemoryBank, factory: str, shards: int) -> None:
    retriever, manifest = opened(bank, WIDE, factory, shards=shards)
    plain = plain_rows(bank, WIDE)
    kept = np.setdiff1d(np.arange(bank.rows(WIDE)), plain)
    assert manifest.left_out == manifest.summary()["left_out"] == len(plain) == 12 * 55

    # Each row that is held finds itself, whatever was left out before it.
    some = kept[::7]
    scores, rows = retriever.search(bank.vectors(WIDE, some), 5)
    assert (rows[:, 0] == some).mean() > 0.97
    np.testing.assert_allclose(scores[:, 0], 1, atol=1e-3)
    everything = retriever.search(bank.vectors(WIDE, plain[:3]) + 0.01, bank.rows(WIDE))[1]
    assert set(everything.ravel()) <= {-1, *kept}

    sizes = retriever.cells()[1]
    assert sizes.sum() == len(kept)
    drawn = retriever.draw(np.flatnonzero(sizes).repeat(200), np.random.default_rng(0))
    assert set(drawn) <= set(kept)
    if factory == "Flat":
        assert set(everything.ravel()) == {-1, *kept}


@pytest.mark.parametrize("scale", [WIDE, NARROW])
def test_a_flat_index_is_exact_over_the_rows_held(bank: MemoryBank, scale: Scale) -> None:
    retriever, manifest = opened(bank, scale, "Flat", shards=2)
    queries = make_queries(bank, scale, 60, seed=0)
    oracle = ExactRetriever(bank, scale, manifest.trained.request.least_norm(scale))
    exact_scores, exact_rows = oracle.search(queries, 4)
    scores, rows = retriever.search(queries, 4)
    np.testing.assert_array_equal(rows, exact_rows)
    np.testing.assert_allclose(scores, exact_scores, atol=1e-6)
    assert not np.isin(exact_rows, plain_rows(bank, scale)).any()
    assert manifest.audit.recall_at_1 == manifest.audit.recall_at_5 == 1


def test_exact_search_holds_all_rows_unless_told(made: MemoryBank) -> None:
    total = made.rows(NARROW)
    query = make_queries(made, NARROW, 1, seed=0)
    assert sorted(ExactRetriever(made, NARROW).search(query, total)[1][0]) == list(range(total))
    nothing = ExactRetriever(made, NARROW, least_norm=1e6).search(query, 2)
    assert (nothing[1] == -1).all()
    assert np.isneginf(nothing[0]).all()


@pytest.mark.parametrize(
    ("scale", "factory"), [(WIDE, "PCA64,IVF16,SQfp16"), (WIDE, "IVF16,SQ8"), (NARROW, "Flat")]
)
def test_several_shards_answer_as_one(bank: MemoryBank, scale: Scale, factory: str) -> None:
    queries = make_queries(bank, scale, 60, seed=4)
    answers = []
    for shards in (1, 2, 4):
        retriever, manifest = opened(bank, scale, factory, shards=shards)
        assert len(manifest.parts) == shards
        cells = np.flatnonzero(retriever.cells()[1]).repeat(5)
        drawn = retriever.draw(cells, np.random.default_rng(0))
        answers.append((retriever.search(queries, 6)[1], retriever.cells()[1], drawn, manifest.left_out))
    for other in answers[1:]:
        for mine, theirs in zip(answers[0], other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_what_is_left_out_is_a_plain_arrow_file(bank: MemoryBank) -> None:
    _, manifest = opened(bank, NARROW, "Flat", shards=4)
    tables = []
    for part in manifest.parts:
        assert part.left_out in manifest.files
        path = bank.path / part.left_out.path
        assert path.name == Path(part.file.path).stem + ".left_out.arrow"
        assert file_xxh3(path) == part.left_out.checksum
        tables.append(pa.ipc.open_file(path.read_bytes()).read_all())
        assert tables[-1].num_rows == part.left_out.rows
    table = pa.concat_tables(tables)
    assert table.schema == pa.schema([("row", pa.int64()), ("norm", pa.float32())])
    np.testing.assert_array_equal(table["row"].to_numpy(), plain_rows(bank, NARROW))
    assert table["norm"].to_numpy().max() < 1e-5


def test_the_threshold_is_in_grey_levels(bank: MemoryBank) -> None:
    vectors = bank.vectors(NARROW, np.arange(bank.rows(NARROW))).astype(np.float64)
    levels = np.sqrt(((vectors - bank.mean(NARROW)) ** 2).mean(axis=1)) * 127.5
    for least in (0, 1, 10, 30):
        _, manifest = opened(bank, NARROW, "Flat", min_contrast=least)
        assert manifest.left_out == (levels < least).sum()
        assert manifest.summary()["min_contrast"] == least
    assert (levels < 30).sum() > (levels < 10).sum() > (levels < 1).sum() > 0


def test_training_leaves_plain_rows_out(bank: MemoryBank) -> None:
    kept = bank.rows(WIDE) - len(plain_rows(bank, WIDE))
    for factory in ("PCA64,IVF8,SQfp16", "IVF8,SQ8"):
        discard(bank, WIDE)
        assert train(bank, WIDE, request(factory)).training_rows == kept
    assert train(bank, NARROW, request("Flat")).training_rows == 0
    with pytest.raises(UserError, match=rf"trained on the {kept} patches .*660 near-constant ones left out"):
        train(bank, WIDE, request("IVF1000,Flat"))


@pytest.mark.parametrize("factory", TYPES)
def test_a_bank_of_plain_patches_alone_is_refused(bank: MemoryBank, factory: str) -> None:
    with pytest.raises(
        UserError, match=r"only near-constant patches at scale 8:4.*--min-contrast"
    ) as refused:
        index_bank(bank, WIDE, request(factory, min_contrast=200))
    assert "\n" not in str(refused.value)
    assert finished(bank, WIDE, request(factory, min_contrast=200)) is None


@pytest.mark.parametrize("factory", TYPES)
def test_a_shard_may_hold_nothing(bank: MemoryBank, factory: str) -> None:
    wanted = request(factory, shards=4)
    trained = train(bank, WIDE, wanted)
    parts = [add_shard(bank, WIDE, trained, number, own) for number, own in enumerate(plan(bank, 4))]
    # An index of a higher threshold beside one that holds rows, as a bank with a shard of plain photos has.
    strict = trained.model_copy(update={"request": wanted.model_copy(update={"min_contrast": 200.0})})
    empty = add_shard(bank, WIDE, strict, 1, parts[1].bank_shards)
    assert empty.left_out.rows == empty.rows
    found = [
        shard.search(unit_rows_and_norms(bank.vectors(WIDE, np.array([0])), bank.mean(WIDE))[0], 2)
        for shard in shards_of(bank, parts)
    ]
    assert [bool((rows >= 0).all()) for _, rows in found] == [True, False, True, True]


@pytest.mark.parametrize("spoil", ["truncated", "garbage", "missing", "other rows"])
def test_a_spoilt_file_is_refused(bank: MemoryBank, spoil: str) -> None:
    opened(bank, NARROW, "Flat", shards=2)
    path = index_folder(bank.path, NARROW) / "part-00001.left_out.arrow"
    content = path.read_bytes()
    message = {
        "truncated": "it is truncated",
        "garbage": "cannot be read",
        "missing": "is missing",
        "other rows": "does not hold the rows of its record",
    }[spoil]
    if spoil == "truncated":
        path.write_bytes(content[:-20])
    elif spoil == "garbage":
        path.write_bytes(bytes(len(content)))
    elif spoil == "missing":
        path.unlink()
    else:
        table = pa.ipc.open_file(content).read_all()
        table = table.set_column(0, "row", pa.array(table["row"].to_numpy() - 900))
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        assert path.stat().st_size == len(content)
    with pytest.raises(UserError, match=rf"part-00001\.left_out\.arrow .*{message}.*--overwrite") as refused:
        open_retriever(bank, NARROW)
    assert "\n" not in str(refused.value)


def test_parts_of_another_threshold_are_made_again(bank: MemoryBank) -> None:
    """A flat index learns nothing, so its file is the same for every request; parts were once told apart by
    that file alone."""
    for least in (1.0, 0.0):
        trained = train(bank, NARROW, request("Flat", min_contrast=least))
        part = add_shard(bank, NARROW, trained, 0, plan(bank, 1)[0])
        record = json.loads((index_folder(bank.path, NARROW) / "part-00000.json").read_text())
        assert part.left_out.rows == record["left_out"]["rows"] == (12 * 72 if least else 0)
