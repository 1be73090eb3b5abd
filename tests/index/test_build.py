from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from art2real.data.bank import MemoryBank
from art2real.errors import UserError
from art2real.index.build import add_shard, discard, finish, finished, plan
from art2real.index.learn import train
from art2real.index.manifest import MANIFEST, describe, index_folder, read_manifest
from art2real.index.retriever import open_retriever
from tests.index.banks import NARROW, WIDE, index_bank, make_bank, request

IVF = "PCA64,IVF8,SQfp16"


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bank")
    bank = make_bank(folder)
    index_bank(bank, WIDE, request(IVF, shards=2))
    return folder


@pytest.fixture
def bank(indexed: Path, tmp_path: Path) -> MemoryBank:
    """A copy that a test may spoil."""
    shutil.copytree(indexed / "bank", tmp_path / "bank")
    return MemoryBank.open(tmp_path / "bank")


def test_manifest_says_what_was_built(bank: MemoryBank) -> None:
    [summary] = describe(bank.path)
    assert (summary["size"], summary["stride"], summary["factory"]) == (8, 4, IVF)
    assert (summary["rows"], summary["shards"]) == (bank.rows(WIDE), 2)
    assert summary["recall_at_1"] >= 0.9
    assert summary["recall_at_5"] >= 0.8
    assert summary["queries_per_second"] > 0
    folder = index_folder(bank.path, WIDE)
    files = [*folder.glob("*.index"), *folder.glob("*.left_out.arrow")]
    assert len(files) == 5
    assert summary["bytes"] == sum(path.stat().st_size for path in files)


def test_seed_decides_the_index(tmp_path: Path) -> None:
    bank = make_bank(tmp_path, photos=4)
    digests = []
    for seed in (0, 0, 1):
        discard(bank, WIDE)
        manifest = index_bank(bank, WIDE, request("IVF8,SQ8", seed=seed))
        digests.append([file.checksum for file in manifest.files])
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_an_interrupted_build_goes_on(bank: MemoryBank) -> None:
    folder = index_folder(bank.path, WIDE)
    before = read_manifest(bank.path, WIDE)
    assert before is not None
    (folder / MANIFEST).unlink()
    (folder / "part-00001.json").unlink()  # its file was written, its record was not
    (folder / ".part-00001.index.1234.tmp").write_bytes(b"half")
    (folder / "part-00002.json").write_text("{")  # of a build with more shards
    kept = {name: (folder / name).stat().st_mtime_ns for name in ("trained.index", "part-00000.index")}
    with pytest.raises(UserError, match="no index at scale 8:4"):
        open_retriever(bank, WIDE)
    again = index_bank(bank, WIDE, request(IVF, shards=2))
    assert again.files == before.files
    assert kept == {name: (folder / name).stat().st_mtime_ns for name in kept}
    parts = ["part-00000", "part-00001"]
    expected = [MANIFEST, *(f"{name}.{kind}" for name in [*parts, "trained"] for kind in ("index", "json"))]
    expected += [f"{name}.left_out.arrow" for name in parts]
    assert sorted(path.name for path in folder.iterdir()) == sorted(expected)


def test_a_damaged_record_is_made_again(bank: MemoryBank) -> None:
    folder = index_folder(bank.path, WIDE)
    before = read_manifest(bank.path, WIDE)
    for name in (MANIFEST, "part-00000.index"):
        (folder / name).unlink()
    for name in ("trained.json", "part-00001.json"):
        (folder / name).write_text("{")
    again = index_bank(bank, WIDE, request(IVF, shards=2))
    assert before is not None
    assert again.files == before.files


def test_finished_index_is_kept_for_the_same_request_only(bank: MemoryBank) -> None:
    assert finished(bank, WIDE, request(IVF, shards=2)) == read_manifest(bank.path, WIDE)
    assert finished(bank, NARROW, request()) is None
    with pytest.raises(UserError, match=r"another index at scale 8:4 \(factory .*not Flat\).*--overwrite"):
        finished(bank, WIDE, request("Flat", shards=2))


def test_an_index_of_an_older_format_is_refused(bank: MemoryBank) -> None:
    path = index_folder(bank.path, WIDE) / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["trained"]["format_version"] = 2
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"another version \(trained\.format_version: .*--overwrite"):
        open_retriever(bank, WIDE)


def test_missing_index_and_scale_are_named(bank: MemoryBank) -> None:
    with pytest.raises(UserError, match=r"no index at scale 4:4; build it with `build-index"):
        open_retriever(bank, NARROW)
    with pytest.raises(UserError, match=r"has no scale 16:6; it has 8:4, 4:4"):
        open_retriever(bank, type(WIDE)(16, 6))


def test_too_many_lists_are_refused(bank: MemoryBank) -> None:
    with pytest.raises(UserError, match=r"IVF4096,Flat needs at least 4096 patches"):
        train(bank, NARROW, request("IVF4096,Flat"))
    assert not list(index_folder(bank.path, NARROW).glob("*"))


def test_codes_that_cannot_be_learned_are_refused(tmp_path: Path) -> None:
    bank = make_bank(tmp_path, photos=4, size=8)  # 4 patches of 8:4
    with pytest.raises(UserError, match=r"PQ8 cannot be trained on the 4 patches .*number of clusters"):
        train(bank, WIDE, request("PQ8"))


def test_a_recall_out_of_reach_keeps_the_index_and_says_so(bank: MemoryBank) -> None:
    wanted = request("IVF4,PQ4x4fs", min_recall=0.999)
    trained = train(bank, NARROW, wanted)
    manifest = finish(bank, NARROW, trained, [add_shard(bank, NARROW, trained, 0, plan(bank, 1)[0])])
    assert not manifest.audit.reached
    assert manifest.audit.recall_at_1 < 0.999
    assert manifest.summary()["min_recall_reached"] is False
    assert open_retriever(bank, NARROW).search(np.zeros((1, 48), np.float32), 1)[1][0, 0] >= 0
