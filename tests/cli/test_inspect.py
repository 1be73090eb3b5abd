"""`art2real-cli inspect` on a bank, an index, a checkpoint and a run."""

from __future__ import annotations

import json
import re
from importlib.metadata import version

import numpy as np
import pytest
import torch
from PIL import Image

from art2real.cli.common import human_bytes
from art2real.cli.inspect import bank_as_text, describe_bank
from art2real.cli.main import main
from art2real.config.tree import Networks
from art2real.core.networks import ResNetGenerator, initialise
from art2real.data.bank_build import build_bank
from art2real.data.manifest import FORMAT_VERSION, BankSettings
from art2real.training.run_folder import RunFolder
from art2real.translation.weights import save_generator
from tests.data.hard_files import BAD, GOOD, write_hard_folder
from tests.index.banks import NARROW, WIDE, index_bank, make_bank, request
from tests.pictures import make_photo
from tests.training.runs import tiny_config, write_domains


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["inspect", *map(str, arguments)])
    out, err = capsys.readouterr()
    return end.value.code, out, err


def test_a_bank_with_an_index(tmp_path, capsys):
    bank = make_bank(tmp_path)
    index_bank(bank, NARROW, request(factory="Flat"))
    code, out, _ = run(capsys, bank.path, "--json")
    data = json.loads(out)
    assert code == 0
    assert data["format_version"] == FORMAT_VERSION
    assert (data["photos"], data["skipped"], data["skipped_by_cause"]) == (12, 0, {})
    index_free = [path for path in bank.path.rglob("*") if path.is_file() and "index" not in path.parts]
    assert data["bytes"] == sum(path.stat().st_size for path in index_free)
    assert data["scales"] == [
        {"size": 8, "stride": 4, "patches": bank.rows(WIDE)},
        {"size": 4, "stride": 4, "patches": bank.rows(NARROW)},
    ]
    [index] = data["index"]
    assert (index["size"], index["stride"], index["factory"]) == (4, 4, "Flat")
    assert (index["rows"], index["shards"]) == (bank.rows(NARROW), 1)
    assert index["recall_at_1"] == index["recall_at_5"] == 1.0
    code, out, _ = run(capsys, bank.path)
    assert out.splitlines()[1:] == [
        "photos      12 of 48x48 pixels, 4 shards",
        f"bytes       {human_bytes(data['bytes'])} without the index",
        f"from        {tmp_path / 'photos'}  12 image files",
        "skipped     0",
        "no images   0 other files",
        "patches     8:4  1,452",
        "            4:4  1,728",
        "index       4:4  Flat  1,728 rows  1 shard  recall@1 1.000  recall@5 1.000",
        "versions    " + ", ".join(f"{name} {version(name)}" for name in ("numpy", "pillow", "pyarrow")),
    ]


def test_what_an_index_lacks_is_said(tmp_path, capsys):
    bank = make_bank(tmp_path)
    index_bank(bank, NARROW, request(factory="Flat"))
    data = describe_bank(bank.path)
    [index] = data["index"]
    few = {**index, "size": 8, "rows": 9, "left_out": 1234, "lacks_rows": 1}
    other = {**few, "foreign": True}
    assert bank_as_text({**data, "index": [few, other, index]}).splitlines()[-4:-1] == [
        "index       8:4  Flat      9 rows  1 shard  recall@1 1.000  recall@5 1.000  "
        "1,234 near-constant rows left out, lacks 1 row of the bank: build-index",
        "            8:4  Flat      9 rows  1 shard  recall@1 1.000  recall@5 1.000  "
        "1,234 near-constant rows left out, lacks 1 row of the bank: build-index --overwrite",
        "            4:4  Flat  1,728 rows  1 shard  recall@1 1.000  recall@5 1.000",
    ]


def test_skipped_files_are_counted_by_cause(tmp_path, capsys):
    write_hard_folder(tmp_path / "hard")
    build_bank(tmp_path / "hard", tmp_path / "bank", BankSettings(image_size=32))
    _, out, _ = run(capsys, tmp_path / "bank", "--json")
    data = json.loads(out)
    causes = data["skipped_by_cause"]
    assert sum(causes.values()) == data["skipped"]
    assert (data["photos"], data["skipped"]) == (len(GOOD), len(BAD))
    _, out, _ = run(capsys, tmp_path / "bank")
    said = "1 empty, 2 not an image, 1 too many pixels, 1 too small, 1 truncated"
    assert f"skipped     {data['skipped']} ({said}): {tmp_path / 'bank'}/skipped.jsonl" in out
    assert "index       none; build-index makes it" in out


def test_verify_names_damaged_files_of_bank_and_index(tmp_path, capsys):
    bank = make_bank(tmp_path)
    index_bank(bank, NARROW, request(factory="Flat"))
    code, out, err = run(capsys, bank.path, "--verify")
    assert code == 0
    assert "verified: every file is as it was written" in out
    # One count over bank and index together: it is said once.
    assert re.fullmatch(r"files verified: (\d+) of \1\n", err)
    damaged = ["photos/part-00002.arrow", f"index/{NARROW.name}/part-00000.index"]
    for name in damaged:
        data = bytearray((bank.path / name).read_bytes())
        data[len(data) // 2] ^= 1
        (bank.path / name).write_bytes(data)
    code, out, _ = run(capsys, bank.path, "--verify", "--json")
    assert code == 1
    assert json.loads(out)["damaged"] == damaged
    code, out, _ = run(capsys, bank.path, "--verify")
    assert code == 1
    assert all(f"  {name}" in out for name in damaged)


def test_the_index_that_was_not_finished_does_not_keep_a_bank_from_being_verified(tmp_path, capsys):
    bank = make_bank(tmp_path)
    index_bank(bank, NARROW, request(factory="Flat"))
    (bank.path / "index" / NARROW.name / "manifest.json").unlink()
    shard = bank.path / "photos/part-00001.arrow"
    shard.write_bytes(shard.read_bytes()[:-1])
    code, out, _ = run(capsys, bank.path, "--verify", "--json")
    assert code == 1
    assert json.loads(out)["damaged"] == ["photos/part-00001.arrow"]


def test_a_picture_of_a_bank(tmp_path, capsys):
    bank = make_bank(tmp_path)
    picture = tmp_path / "new" / "bank.png"
    code, out, err = run(capsys, bank.path, "--out", picture, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["picture"] == str(picture)
    with Image.open(picture) as drawn:
        assert drawn.format == "PNG"
    code, out, _ = run(capsys, bank.path, "--out", picture)
    assert out.endswith(f"\npicture: {picture}\n")


@pytest.mark.parametrize(
    ("folder", "name", "code", "words"),
    [
        ("bank", "bank.jpg", 2, "bank.jpg: the picture is written as PNG; end its name in .png"),
        ("bank", "photos/photo-000.jpg/bank.png", 1, "bank.png cannot be written: "),
        ("bank/index/4x4s4", "index.png", 2, "index.png: only memory banks and runs have a picture"),
        ("photos", "photos.png", 1, "neither a memory bank, an index, a run nor a checkpoint"),
    ],
)
def test_pictures_that_cannot_be(tmp_path, capsys, folder, name, code, words):
    bank = make_bank(tmp_path)
    index_bank(bank, NARROW, request(factory="Flat"))
    got, out, err = run(capsys, tmp_path / folder, "--out", tmp_path / name)
    assert (got, out) == (code, "")
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / name).exists()


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    bank = make_bank(tmp_path_factory.mktemp("indexed"), photos=4)
    for scale in (WIDE, NARROW):
        index_bank(bank, scale, request())
    return bank


def test_an_audit_for_machines(indexed, tmp_path, capsys):
    picture = tmp_path / "new" / "affinity.png"
    code, out, err = run(capsys, indexed.path, "--audit", "--out", picture, "--json")
    data = json.loads(out)
    assert code == 0
    assert err.startswith("percent audited: 100 of 100")
    assert data["audit_images"] == {"count": 4, "files": []}
    assert [(each["size"], each["stride"]) for each in data["audit"]] == [(8, 4), (4, 4)]
    for each, index in zip(data["audit"], data["index"], strict=True):
        for name in ("recall_at_1", "recall_at_5", "nprobe", "queries_per_second"):
            assert each[name] == index[name]
        assert each["index_bytes_per_row"] == index["bytes_per_row"]
        assert each["near_constant"]["left_out"] == pytest.approx(index["left_out"] / index["rows"], abs=1e-6)
        assert 0 <= each["near_constant"]["plain"] < 0.5
        assert each["duplicates"] == 0
        assert [one["name"] for one in each["estimators"]] == ["exact", "union", "sparse", "sampled"]
        exact, union, sparse, sampled = each["estimators"]
        assert (exact["loss_error"], exact["gradient_cosine"]) == (0, pytest.approx(1))
        # So small a bank is taken whole.
        assert (sampled["loss_error"], sampled["gradient_cosine"]) == (
            pytest.approx(0, abs=0.01),
            pytest.approx(1, abs=0.01),
        )
        assert sparse["loss"] < union["loss"] < exact["loss"]
    with Image.open(picture) as drawn:
        assert (drawn.format, data["picture"]) == ("PNG", str(picture))


def test_an_audit_for_people_and_of_images(indexed, tmp_path, capsys):
    painting = tmp_path / "painting.png"
    Image.fromarray(make_photo(99, 80, 60)).save(painting)
    code, out, _ = run(capsys, indexed.path, "--audit", "--image", painting)
    assert code == 0
    assert f"\naudit       {painting}\n" in out
    assert "\n8:4         recall@1 " in out
    assert out.count("compared at 121 of 121 patches of each image") == 1
    assert out.count("0.00% of rows are copies of others, byte for byte") == 2
    assert len(re.findall(r"sampled +[\d.]+ +0\.00\d +(?:1\.000|0\.99\d) +[\d.]+", out)) == 2
    _, out, _ = run(capsys, indexed.path, "--audit")
    assert "4 photos of the bank, mirrored, median filter of 5 pixels, blurred" in out


@pytest.mark.parametrize(
    ("folder", "options", "code", "words"),
    [
        ("bank", ["--audit"], 1, "has no index at scale 8:4; build it with `build-index"),
        ("bank", ["--image", "photos/photo-000.jpg"], 2, "--image: only an audit takes images; add --audit"),
        ("bank/index/4x4s4", ["--audit"], 2, "--audit: only a memory bank has an audit"),
        ("bank", ["--audit", "--image", "bank/manifest.json"], 1, "manifest.json cannot be used: not in an"),
        ("bank", ["--audit", "--out", "affinity.jpg"], 2, "the picture is written as PNG"),
    ],
)
def test_audits_that_cannot_be(tmp_path, capsys, monkeypatch, folder, options, code, words):
    monkeypatch.chdir(tmp_path)
    index_bank(make_bank(tmp_path, photos=4), NARROW, request(factory="Flat"))
    got, out, err = run(capsys, tmp_path / folder, *options)
    assert (got, out) == (code, "")
    assert words in err
    assert err.count("\n") == 1


def test_an_audit_whose_picture_cannot_be_written(indexed, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code, out, err = run(capsys, indexed.path, "--audit", "--out", tmp_path / "file" / "affinity.png")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "affinity.png cannot be written" in err


def test_an_index(tmp_path, capsys):
    bank = make_bank(tmp_path)
    index_bank(bank, NARROW, request(factory="Flat"))
    folder = bank.path / "index" / NARROW.name
    code, out, _ = run(capsys, folder, "--json", "--verify")
    data = json.loads(out)
    assert code == 0
    assert (data["kind"], data["factory"], data["damaged"]) == ("index", "Flat", [])
    (folder / "part-00000.index").unlink()
    code, out, _ = run(capsys, folder, "--verify")
    assert code == 1
    assert "part-00000.index" in out
    (folder / "manifest.json").unlink()
    code, _, err = run(capsys, folder)
    assert (code, "not finished" in err) == (1, True)


def test_a_checkpoint(tmp_path, capsys):
    generator = ResNetGenerator(4, 1)
    initialise(generator, torch.Generator().manual_seed(0))
    save_generator(generator, Networks(generator_width=4, generator_blocks=1), tmp_path / "weights")
    code, out, _ = run(capsys, tmp_path / "weights", "--json", "--verify")
    data = json.loads(out)
    assert code == 0
    assert data["kind"] == "checkpoint"
    assert data["networks"]["generator_width"] == 4
    assert data["files"] == ["G.safetensors"]
    assert data["bytes"] == (tmp_path / "weights/G.safetensors").stat().st_size
    (tmp_path / "weights/G.safetensors").write_bytes(b"no weights")
    code, out, _ = run(capsys, tmp_path / "weights", "--verify")
    assert code == 1
    assert "G.safetensors" in out


def test_a_run(tmp_path, capsys):
    write_domains(tmp_path)
    run_folder = RunFolder.create(tiny_config(tmp_path), {})
    code, out, _ = run(capsys, run_folder.path)
    assert code == 0
    assert "step        0, not finished" in out
    assert "checkpoint  none" in out
    generator = ResNetGenerator(4, 1)
    save_generator(generator, Networks(generator_width=4, generator_blocks=1), run_folder.checkpoint_path(6))
    run_folder.append_stats({"step": 6})
    run_folder.finish(6)
    code, out, _ = run(capsys, run_folder.path, "--json", "--verify")
    data = json.loads(out)
    assert code == 0
    assert (data["kind"], data["name"], data["step"], data["finished"]) == ("run", "tiny", 6, True)
    assert data["bank"] is None
    assert [each["step"] for each in data["checkpoints"]] == [6]
    assert data["damaged"] == []
    (run_folder.checkpoint_path(6) / "G.safetensors").unlink()
    code, out, _ = run(capsys, run_folder.path, "--json", "--verify")
    assert code == 1
    assert json.loads(out)["damaged"] == ["checkpoints/step-00000006/G.safetensors"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "there is no such folder"),
        (lambda path: path.mkdir(), "neither a memory bank, an index, a run nor a checkpoint"),
        (lambda path: path.write_text("x"), "neither a memory bank"),
    ],
)
def test_what_cannot_be_described(tmp_path, capsys, make, words):
    make(tmp_path / "thing")
    code, out, err = run(capsys, tmp_path / "thing")
    assert (code, out) == (1, "")
    assert words in err


def test_an_unfinished_bank_says_how_to_go_on(tmp_path, capsys):
    bank = make_bank(tmp_path)
    (bank.path / "manifest.json").replace(bank.path / "building.json")
    code, _, err = run(capsys, bank.path, "--out", tmp_path / "bank.png")
    assert code == 1
    assert not (tmp_path / "bank.png").exists()
    assert f"{bank.path}: not finished; run build-banks PHOTOS --out {bank.path} --resume" in err


def test_the_curves_of_a_run(tmp_path, capsys):
    folder = RunFolder.create(tiny_config(tmp_path), {})
    out = tmp_path / "curves.png"
    code, _, err = run(capsys, folder.path, "--out", out)
    assert code == 1
    assert f"run {folder.path} has logged nothing yet" in err
    for step in range(1, 40):
        losses = {"cycle_X": 1 / step, "cycle_Y": 2 / step, "D_Y": 0.25, "adversarial_G": 0.3}
        norms = {"generators": 3.0, "discriminators": 1.0}
        folder.append_stats({"step": step, "learning_rate": 2e-4, "losses": losses, "gradient_norms": norms})
    code, text, _ = run(capsys, folder.path, "--out", out)
    assert code == 0
    assert text.endswith(f"picture: {out}\n")
    with Image.open(out) as drawn:
        narrow, pixels = drawn.size, np.asarray(drawn).astype(int)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20, "an empty picture"
    # With the contextual loss, and how long it took, there are two diagrams more: one row of them.
    folder.append_stats({"step": 40, "losses": {"contextual": 4.0}, "retrieval_seconds": 0.3})
    run(capsys, folder.path, "--out", out)
    with Image.open(out) as drawn:
        assert drawn.width == narrow[0]
        assert drawn.height > narrow[1]
