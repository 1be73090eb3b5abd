"""A bank built from an object store that fails some, or all, of its calls."""

from __future__ import annotations

import time
from pathlib import Path

from art2real.core.scale import Scale
from art2real.data.bank_build import build_bank
from art2real.data.manifest import BankSettings, read_manifest
from art2real.errors import UserError
from tests.data.sources.conftest import Bucket
from tests.faults.flaky_store import FlakyStore, flaky_bucket
from tests.faults.outcome import Outcome, Stopwatch, contents
from tests.pictures import write_photos

SETTINGS = BankSettings(image_size=32, scales=(Scale(8, 5),), photos_per_shard=8)
_PHOTOS = 48


def calls_fail(folder: Path, share: float = 0.05) -> Outcome:
    """A share of all calls fails, of the listing too."""
    with flaky_bucket(seed=1) as (store, bucket):
        _fill(folder, bucket)
        with Stopwatch() as plain:
            build_bank(bucket.uri("/photos"), folder / "undisturbed", SETTINGS)
        calls, store.share = store.calls, share
        with Stopwatch() as disturbed:
            build_bank(bucket.uri("/photos"), folder / "disturbed", SETTINGS)
        notes = {"failed": dict(store.failed), "calls": store.calls - calls}
    return Outcome(plain.seconds, disturbed.seconds, None, _equal(folder), notes)


def store_goes_away(folder: Path) -> Outcome:
    """From the second shard on all calls fail; when the store is back, the build goes on."""
    with flaky_bucket(seed=2) as (store, bucket):
        _fill(folder, bucket)
        uri = bucket.uri("/photos")
        with Stopwatch() as plain:
            build_bank(uri, folder / "undisturbed", SETTINGS)
        said = ""
        with Stopwatch() as disturbed:
            try:
                build_bank(uri, folder / "disturbed", SETTINGS, on_progress=lambda *_: _go_away(store))
            except UserError as error:
                said = str(error)
            kept = len(list((folder / "disturbed/records").glob("*.json")))
            finished = (folder / "disturbed/manifest.json").exists()
            store.share, back, shards = 0.0, time.monotonic(), []
            summary = build_bank(
                uri,
                folder / "disturbed",
                SETTINGS,
                mode="resume",
                on_progress=lambda *_: shards.append(time.monotonic()),
            )
    notes = {"said": said, "kept": kept, "finished": finished, "tasks_kept": summary.tasks_kept}
    notes["skipped"] = read_manifest(folder / "disturbed").skipped
    recovery = shards[kept] - back
    return Outcome(plain.seconds, disturbed.seconds, recovery, _equal(folder), notes)


def _fill(folder: Path, bucket: Bucket) -> None:
    for path in write_photos(folder / "photos", _PHOTOS, height=40, width=50):
        bucket.put(f"photos/{path.name}", path.read_bytes())


def _go_away(store: FlakyStore) -> None:
    store.share = 1.0


def _equal(folder: Path) -> bool:
    return contents(folder / "undisturbed") == contents(folder / "disturbed")
