"""Where the files behind a bank's photos lie."""

from __future__ import annotations

import tarfile
from pathlib import Path

from PIL import Image

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.manifest import BankSettings
from art2real.data.origins import place_of
from tests.pictures import write_photos

SETTINGS = BankSettings(image_size=16, scales=(Scale(4, 4),), photos_per_shard=2)


def places(bank: MemoryBank) -> list[str | None]:
    return [place_of(bank, number) for number in range(len(bank.photos))]


def test_photos_of_several_folders_and_shards(tmp_path):
    first = write_photos(tmp_path / "one", 3, height=16, width=16)
    first += write_photos(tmp_path / "one" / "within", 2, height=16, width=16, seed=20)
    more = write_photos(tmp_path / "two", 3, height=16, width=16, seed=50)
    build_bank(tmp_path / "one", tmp_path / "bank", SETTINGS)
    build_bank(tmp_path / "two", tmp_path / "bank", SETTINGS, mode="append")
    bank = MemoryBank.open(tmp_path / "bank")
    assert len(bank.shards) == 5
    # The same names in both folders: each photo has its own folder's.
    assert places(bank) == [str(path) for path in (*first, *more)]


def test_patterns_lists_and_shards(tmp_path):
    paths = write_photos(tmp_path / "in[1]", 2, height=16, width=16)
    (tmp_path / "list.txt").write_text("in[1]/photo-001.jpg\n")
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(paths[0], "a/b.jpg")
    expected = {
        str(tmp_path / "in[1]"): [str(path) for path in paths],
        str(tmp_path / "in[[]1]" / "*1.jpg"): [str(paths[1])],
        str(tmp_path / "list.txt"): [str(paths[1])],
        str(tmp_path / "photos.tar"): [str(tmp_path / "photos.tar" / "a" / "b.jpg")],
    }
    # A pattern has its folder up to the first name with a sign of patterns, so that one is in the source.
    for number, (origin, files) in enumerate(expected.items()):
        build_bank(origin, tmp_path / f"bank-{number}", SETTINGS)
        assert places(MemoryBank.open(tmp_path / f"bank-{number}")) == files


def test_a_uri_stays_one(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (16, 16), "teal").save(tmp_path / "photos" / "sea 1.png")
    build_bank(tmp_path / "photos", tmp_path / "bank", SETTINGS)
    manifest = MemoryBank.open(tmp_path / "bank").manifest

    def place(origin: str) -> str | None:
        moved = manifest.inputs[0].model_copy(update={"origin": origin})
        bank = MemoryBank(Path(tmp_path / "bank"), manifest.model_copy(update={"inputs": (moved,)}))
        return place_of(bank, 0)

    assert place("s3://bucket/my%20photos") == "s3://bucket/my%20photos/sea%201.png"
    assert place("gs://bucket/") == "gs://bucket/sea%201.png"
    assert place("s3://bucket/deep/*.png") == "s3://bucket/deep/sea%201.png"
    assert place("s3://bucket/deep/list.txt") == "s3://bucket/deep/sea%201.png"
