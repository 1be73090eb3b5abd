from __future__ import annotations

import json
from pathlib import Path

import pytest

from art2real.cli.main import main
from tests.plan.workloads import made_constants


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["plan", *map(str, arguments)])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


@pytest.fixture
def constants(tmp_path: Path) -> Path:
    path = tmp_path / "constants.json"
    path.write_text(made_constants().to_json(), encoding="utf-8")
    return path


def test_a_plan_in_words(constants: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--photos", 6287, "--cpus", 16, "--memory", "64GB", "--constants", constants]
    code, text, errors = run(capsys, *options)
    assert (code, errors) == (0, "")
    lines = text.splitlines()
    assert lines[0] == "6,287 photos of 256 px on 1 node of 16 cores, 0 GPUs and 64 GB, 10 Gbit/s"
    assert lines[2].startswith("bank    1.34 GB in 25 shards")
    assert "PCA56,IVF16384,SQfp16" in text
    assert lines[-1] == "times by constants of a made machine, 2026-01-01; --calibrate measures this machine"


def test_a_plan_for_machines(constants: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--photos", 10**6, "--nodes", 4, "--cpus", 32, "--memory", "128GB", "--steps", 1000]
    prices = ["--price-node-hour", 3, "--price-gb-month", 0.02]
    code, text, errors = run(capsys, *options, *prices, "--constants", constants, "--json")
    assert (code, errors) == (0, "")
    plan = json.loads(text)
    assert plan["bank"]["bytes"] == pytest.approx(213e9, rel=0.01)
    assert [each["rows"] for each in plan["index"]] == [1_681_000_000, 2_500_000_000, 4_096_000_000]
    assert plan["machines"] == {"nodes": 4, "cpus": 32, "gpus": 0, "memory": 128 * 10**9, "network": 1e10}
    assert plan["money"]["nodes"] == pytest.approx(4 * plan["seconds"] / 3600 * 3)
    assert plan["money"]["disk_month"] == pytest.approx(plan["disk_bytes"] / 1e9 * 0.02)
    assert plan["constants"]["machine"] == "a made machine"
    assert plan["memory"]["fits"] is True


def test_a_shard_that_does_not_fit_is_said(constants: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--photos", 10**6, "--memory", "16GB", "--shards", 1, "--factory", "IVF65536,SQ8"]
    code, text, _ = run(capsys, *options, "--scale", "4:4", "--constants", constants)
    assert code == 0
    assert "TOO LARGE: shard at scale 4:4 of 229.9 GB does not fit node of 16.0 GB: use --shards 15" in text


def test_without_constants_those_of_the_program_are_used(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = run(capsys, "--photos", 1000, "--json")
    assert code == 0
    assert json.loads(text)["constants"]["machine"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 2, "plan needs --photos N"),
        (["--photos", "0"], 2, "--photos must be between 1 and"),
        (["--photos", "many"], 2, "'many' is not a valid integer"),
        (["--photos", "9", "--scale", "3"], 2, "--scale: '3' is not a scale; write SIZE:STRIDE"),
        (["--photos", "9", "--scale", "512:4"], 2, "larger than the 256-pixel photos"),
        (["--photos", "9", "--memory", "16"], 2, "'16' is not a size; write for example 16GB"),
        (["--photos", "9", "--photo-size", "4000"], 2, "is not WIDTHxHEIGHT"),
        (["--photos", "9", "--factory", "Nonsense"], 2, "FAISS has no index 'Nonsense'"),
        (["--photos", "9", "--factory", "IVF1000000,SQ8"], 1, "needs at least 1000000 patches"),
        (["--photos", "9", "--network", "0"], 2, "--network must be more than 0"),
        (["--photos", "9", "--out", "x.json"], 2, "--out is where --calibrate writes"),
        (["--photos", "9", "--constants", "none.json"], 1, "none.json: cannot be read"),
        (["--calibrate"], 2, "--calibrate needs --out FILE"),
        (["--calibrate", "--constants", "x.json", "--out", "y.json"], 2, "give one of them"),
        (["--calibrate", "--out", "/nowhere/at/all/x.json"], 1, "there is no folder /nowhere/at/all"),
    ],
)
def test_mistakes_are_one_line(
    capsys: pytest.CaptureFixture[str], options: list[str], code: int, message: str
) -> None:
    ended, text, errors = run(capsys, *options)
    assert (ended, text) == (code, "")
    assert message in errors
    assert errors.count("\n") == 1


def test_calibrated_constants_are_written_and_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from art2real.plan import calibrate

    monkeypatch.setattr(calibrate, "calibrate", lambda say: say("nothing") or made_constants())
    out = tmp_path / "mine.json"
    code, text, errors = run(capsys, "--calibrate", "--out", out)
    assert (code, errors) == (0, "measuring: nothing\n")
    assert text.startswith("a made machine, 2026-01-01\n")
    code, text, _ = run(capsys, "--photos", 1000, "--constants", out, "--json")
    assert json.loads(text)["constants"]["machine"] == "a made machine"
