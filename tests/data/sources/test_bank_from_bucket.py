"""Banks of photos that lie in an object store."""

from __future__ import annotations

from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from art2real.core.scale import Scale
from art2real.data.bank_build import begin, build_bank
from art2real.data.images import ImageLimits
from art2real.data.manifest import BankSettings, read_manifest
from art2real.data.sources import read_entry
from art2real.data.sources.entry import Entry
from art2real.errors import UserError
from tests.data.hard_files import write_hard_folder
from tests.data.sources.conftest import Bucket
from tests.data.sources.shards import write_shard
from tests.data.test_bank_build import contents

SETTINGS = BankSettings(image_size=32, scales=(Scale(16, 6), Scale(4, 4)), photos_per_shard=4)


def shards(bank: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(bank).items() if name.endswith((".arrow", ".jsonl"))}


def test_a_bucket_makes_the_same_shards_as_a_folder(bucket, tmp_path):
    write_hard_folder(tmp_path / "photos")
    good = sorted(path for path in (tmp_path / "photos").iterdir() if path.name.startswith(("g", "p")))
    write_shard(tmp_path / "photos/more.tar", {f"{path.stem}.jpg": path.read_bytes() + b"!" for path in good})
    for path in sorted((tmp_path / "photos").rglob("*")):
        if path.is_file():
            bucket.put(f"photos/{path.relative_to(tmp_path / 'photos').as_posix()}", path.read_bytes())
    local = build_bank(tmp_path / "photos", tmp_path / "local", SETTINGS).manifest
    remote = build_bank(bucket.uri("/photos"), tmp_path / "remote", SETTINGS).manifest
    assert shards(tmp_path / "remote") == shards(tmp_path / "local")
    assert remote.scales == local.scales
    assert remote.skipped_by_cause == local.skipped_by_cause
    assert remote.inputs[0].origin == f"s3://{bucket.name}/photos"
    assert "testing" not in (tmp_path / "remote/manifest.json").read_text(), "no credentials"


def test_a_store_that_goes_away_stops_the_build_and_loses_no_photo(s3_endpoint, tmp_path):
    """A photo that cannot be fetched because the network is down is not a bad photo."""
    write_hard_folder(tmp_path / "photos")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    bucket = Bucket(f"{host}:{port}", "comes-and-goes")
    bucket.make()
    for name in ("good.jpg", "grey.jpg", "palette.gif"):
        bucket.put(name, (tmp_path / "photos" / name).read_bytes())
    with begin(bucket.uri(), tmp_path / "bank", SETTINGS) as build:
        server.stop()
        with pytest.raises(UserError, match=r"good\.jpg.*cannot be reached.*run the command again"):
            build.run()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    try:
        build_bank(bucket.uri(), tmp_path / "bank", SETTINGS, mode="resume")
    finally:
        server.stop()
    manifest = read_manifest(tmp_path / "bank")
    assert (manifest.photos, manifest.skipped) == (3, 0)


def test_a_photo_that_is_gone_is_named_and_left_out(bucket):
    gone = Entry("gone.jpg", bucket.uri("/gone.jpg"), 100)
    with pytest.raises(Exception, match="no such file") as error:
        read_entry(gone, ImageLimits())
    assert getattr(error.value, "cause", None) == "unreadable"
