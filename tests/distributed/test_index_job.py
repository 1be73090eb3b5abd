from __future__ import annotations

import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from art2real.data.bank import MemoryBank
from art2real.distributed.index_job import build_index
from art2real.errors import UsageError, UserError
from art2real.index.exact import ExactRetriever
from art2real.index.manifest import describe, index_folder, read_manifest
from art2real.index.order import order
from art2real.index.queries import make_queries
from art2real.index.retriever import open_retriever
from tests.index.banks import (
    NARROW,
    WIDE,
    append_photos,
    index_bank,
    make_bank,
    make_half_plain_bank,
    request,
)

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bank(tmp_path_factory.mktemp("bank")).path


@pytest.fixture
def bank(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "bank")
    return tmp_path / "bank"


def test_it_builds_what_one_process_builds(bank: Path, made: Path, tmp_path: Path) -> None:
    steps: list[tuple[float, float | None, str]] = []
    summaries = build_index(
        bank,
        factory="IVF8,SQfp16",
        shards=3,
        min_recall=0.5,
        on_progress=lambda *step: steps.append(step),
    )
    assert [{**each, "lacks_rows": 0, "foreign": False} for each in summaries] == describe(bank)
    assert [(each["size"], each["shards"]) for each in summaries] == [(8, 3), (4, 3)]
    assert [step[:2] for step in steps] == [(number, 10) for number in range(1, 11)]
    assert {step[2] for step in steps} >= {"8:4 trained", "4:4 shard 2 added", "8:4 audited"}

    shutil.copytree(made, tmp_path / "alone")
    alone = MemoryBank.open(tmp_path / "alone")
    for scale in (WIDE, NARROW):
        manifest = read_manifest(bank, scale)
        assert manifest is not None
        assert manifest.files == index_bank(alone, scale, request("IVF8,SQfp16", shards=3)).files


def test_small_banks_get_an_exact_index(bank: Path) -> None:
    assert [each["factory"] for each in build_index(bank)] == ["Flat", "Flat"]
    opened = MemoryBank.open(bank)
    queries = make_queries(opened, WIDE, 20, seed=0)
    np.testing.assert_array_equal(
        open_retriever(opened, WIDE, threads=1).search(queries, 3)[1],
        ExactRetriever(opened, WIDE).search(queries, 3)[1],
    )


def test_the_same_index_is_kept_and_another_refused(bank: Path) -> None:
    first = build_index(bank)
    part = index_folder(bank, WIDE) / "part-00000.index"
    written = part.stat().st_mtime_ns
    assert build_index(bank) == first
    assert part.stat().st_mtime_ns == written
    with pytest.raises(UserError, match=r"another index at scale 8:4 \(shards 1, not 2\)"):
        build_index(bank, shards=2)
    with pytest.raises(UserError, match=r"another index at scale 8:4 \(min_contrast 1\.0, not 0\.0\)"):
        build_index(bank, min_contrast=0)
    assert [each["shards"] for each in build_index(bank, shards=2, overwrite=True)] == [2, 2]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"factory": "IVF8,Nonsense"}, UsageError, "FAISS has no index 'IVF8,Nonsense'"),
        ({"shards": 0}, UsageError, "--shards must be at least 1"),
        ({"min_recall": 1.5}, UsageError, "--min-recall must be between 0 and 1"),
        ({"min_contrast": -1}, UsageError, "--min-contrast must be between 0 and 255 grey levels, got -1"),
        ({"min_contrast": math.nan}, UsageError, "--min-contrast must be between 0 and 255"),
        ({"min_contrast": 250}, UserError, "has only near-constant patches at scale"),
        ({"factory": "IVF4096,Flat"}, UserError, "IVF4096,Flat needs at least 4096 patches"),
    ],
)
def test_wrong_requests_are_refused_in_one_line(
    bank: Path, options: dict, kind: type[UserError], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as refused:
        build_index(bank, **options)
    assert type(refused.value) is kind
    assert "\n" not in str(refused.value)
    assert describe(bank) == []


def test_a_wrong_request_does_not_cost_the_old_index(bank: Path) -> None:
    before = build_index(bank)
    with pytest.raises(UsageError, match="FAISS has no index"):
        build_index(bank, factory="IVF8,Nonsense", overwrite=True)
    assert describe(bank) == [{**each, "lacks_rows": 0, "foreign": False} for each in before]


def test_near_constant_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    bank = make_half_plain_bank(tmp_path)
    summaries = build_index(bank.path, shards=4)
    assert [each["left_out"] for each in summaries] == [12 * 55, 12 * 72]
    for scale in (WIDE, NARROW):
        rows = open_retriever(bank, scale, threads=1).search(bank.mean(scale)[None], bank.rows(scale))[1]
        assert (bank.locate(scale, rows[rows >= 0])[2] < 24).all()


def test_an_index_follows_its_bank(tmp_path: Path) -> None:
    bank = make_bank(tmp_path, photos=6, per_shard=3).path
    build_index(bank, factory="IVF8,SQfp16", shards=2, min_recall=0.5)
    kept = {path: path.stat().st_mtime_ns for path in (bank / "index").rglob("*.index")}
    append_photos(tmp_path, 3, seed=50)
    assert [each["lacks_rows"] for each in describe(bank)] == [363, 432]
    steps: list[str] = []
    summaries = build_index(bank, on_progress=lambda done, total, step: steps.append(step))
    assert sorted(steps) == sorted(
        f"{scale} {step}" for scale in (WIDE, NARROW) for step in ("trained", "shard 2 added", "audited")
    )
    assert [(each["factory"], each["shards"]) for each in summaries] == [("IVF8,SQfp16", 3)] * 2
    assert [each["lacks_rows"] for each in describe(bank)] == [0, 0]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept

    opened = MemoryBank.open(bank)
    rows = np.arange(opened.rows(WIDE))
    found = open_retriever(opened, WIDE, threads=1).search(opened.vectors(WIDE, rows), 1)[1][:, 0]
    assert (found == rows).mean() > 0.95
    assert build_index(bank) == summaries
    anew = build_index(bank, overwrite=True, factory="IVF8,SQfp16", shards=2, min_recall=0.5)
    assert [(each["shards"], each["rows_added"]) for each in anew] == [(2, 0)] * 2


def test_memory_is_checked_before_anything_is_written(bank: Path) -> None:
    with pytest.raises(UserError, match=r"does not fit into the 1\.0 MB that it may take"):
        build_index(bank, memory=10**6)
    with pytest.raises(UserError, match=r"--shards \d+, or a --factory of shorter codes"):
        order(MemoryBank.open(bank), node=600_000_000)
    assert not (bank / "index").exists()


def test_after_an_error_nothing_begins_and_what_was_done_is_kept(bank: Path) -> None:
    in_the_way = index_folder(bank, WIDE) / "part-00001.index"
    (in_the_way / "x").mkdir(parents=True)
    for _ in range(5):
        with pytest.raises(UserError, match=r"part-00001\.index cannot be written"):
            build_index(bank, factory="IVF8,SQfp16", shards=3, min_recall=0.5)
        assert read_manifest(bank, WIDE) is None
    shutil.rmtree(in_the_way)
    done = {path: path.stat().st_mtime_ns for path in index_folder(bank, WIDE).glob("*.index")}
    assert [path.name for path in sorted(done)] == ["part-00000.index", "part-00002.index", "trained.index"]
    build_index(bank, factory="IVF8,SQfp16", shards=3, min_recall=0.5)
    assert {path: path.stat().st_mtime_ns for path in done} == done


def test_no_bank(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a memory bank"):
        build_index(tmp_path / "nowhere")
