from __future__ import annotations

import json
from pathlib import Path

import pytest

from art2real.cli.build_index import _Size
from art2real.cli.main import main
from art2real.index.manifest import describe
from tests.index.banks import append_photos, make_bank, make_half_plain_bank


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bank(tmp_path_factory.mktemp("bank"), photos=4).path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


def test_dry_run_says_what_would_be_built(bank: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--factory", "IVF4,SQfp16", "--shards", "2", "--dry-run"]
    code, text, errors = run(capsys, "build-index", bank, *options, "--json")
    assert (code, errors) == (0, "")
    first = json.loads(text)["index"][0]
    assert (first["size"], first["stride"], first["rows"], first["shards"]) == (8, 4, 484, 2)
    assert first["bytes"] == 484 * (2 * 192 + 8) + 3 * 4 * 4 * 192
    code, text, _ = run(capsys, "build-index", bank, "--dry-run")
    assert text.splitlines()[0] == ("8:4  Flat, 484 rows in 1 shard, about 372 kB, 702 MB of memory to build")
    assert describe(bank) == []


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--factory", "Nonsense"], 2, "FAISS has no index 'Nonsense'"),
        (["--shards", "0"], 2, "--shards"),
        (["--min-recall", "2"], 2, "--min-recall"),
        (["--min-contrast", "-1"], 2, "--min-contrast"),
        (["--memory", "16"], 2, "--memory': '16' is not a size; write for example 16GB"),
        (["--memory", "300 kB", "--dry-run"], 1, "an index of 0.5 MB does not fit into the 0.3 MB"),
        (["--device", "tpu"], 2, "--device"),
        (["--device", "gpu", "--factory", "HNSW16"], 2, "--device gpu: FAISS has no version of HNSW16"),
    ],
)
def test_mistakes_are_one_line(
    bank: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, message: str
) -> None:
    ended, text, errors = run(capsys, "build-index", bank, *options)
    assert (ended, text) == (code, "")
    assert message in errors
    assert errors.count("\n") == 1


def test_no_bank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, errors = run(capsys, "build-index", tmp_path)
    assert code == 1
    assert "not a memory bank" in errors


@pytest.mark.usefixtures("ray_cluster")
def test_it_builds_keeps_and_warns(bank: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Progress and warnings go to standard error."""
    options = ["--factory", "IVF4,PQ4x4fs", "--min-recall", "1", "--json"]
    code, text, errors = run(capsys, "build-index", bank, *options)
    assert code == 0, errors
    data = json.loads(text)
    assert [{**each, "lacks_rows": 0, "foreign": False} for each in data["index"]] == describe(bank)
    assert [each["factory"] for each in data["index"]] == ["IVF4,PQ4x4fs"] * 2
    assert "index steps: 6 of 6" in errors
    assert "warning: the index at scale 8:4 (IVF4,PQ4x4fs) finds 0." in errors


@pytest.mark.parametrize(
    ("text", "count"), [("16GB", 16 * 10**9), ("1.5 TB", 15 * 10**11), ("20 MB", 2 * 10**7), ("7B", 7)]
)
def test_sizes_are_decimal(text: str, count: int) -> None:
    assert _Size().convert(text, None, None) == count


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.slow
def test_appended_photos_are_added_and_drift_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank = make_bank(tmp_path, photos=6, per_shard=3).path
    options = ["--factory", "IVF64,SQ8", "--shards", "2", "--min-recall", "0.8"]
    assert run(capsys, "build-index", bank, *options)[0] == 0
    append_photos(tmp_path, 12, seed=50, dark=True)
    code, text, _ = run(capsys, "build-index", bank, "--dry-run", "--json")
    assert code == 0
    [wide, _] = json.loads(text)["index"]
    assert (wide["factory"], wide["shards"], wide["complete"]) == ("IVF64,SQ8", 6, False)
    code, text, errors = run(capsys, "build-index", bank)
    assert (code, text.splitlines()[0].split(" rows in ")[0]) == (0, "8:4  IVF64,SQ8, 2,178")
    assert "warning: the index at scale 8:4 (IVF64,SQ8) was trained before 1,452 rows" in errors
    assert "the quantizer has drifted" in errors
    code, text, _ = run(capsys, "build-index", bank, "--dry-run")
    assert text.splitlines()[0].startswith("8:4  IVF64,SQ8, 2,178 rows in 6 shards, complete, ")


@pytest.mark.usefixtures("ray_cluster")
def test_the_line_counts_what_was_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank = make_half_plain_bank(tmp_path).path
    code, text, _ = run(capsys, "build-index", bank)
    assert code == 0
    assert [line.rsplit(", ", 1)[1] for line in text.splitlines()] == [
        "660 near-constant rows left out",
        "864 near-constant rows left out",
    ]
    code, text, _ = run(capsys, "build-index", bank, "--min-contrast", "0", "--overwrite")
    assert code == 0
    assert "left out" not in text
