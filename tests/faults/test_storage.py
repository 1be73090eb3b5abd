"""Stores that fail: nothing is lost, and nothing is taken for something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from art2real.data.sources import open_source, remote
from art2real.errors import UserError
from tests.faults.flaky_store import flaky_bucket
from tests.faults.storage import calls_fail, store_goes_away

_GIF = b"GIF89a" + bytes(40)


def test_one_call_in_twenty_that_fails_changes_nothing(tmp_path: Path) -> None:
    came_of_it = calls_fail(tmp_path)
    assert came_of_it.equal
    assert sum(came_of_it.notes["failed"].values()) >= 2


@pytest.mark.slow
def test_more_calls_that_fail_than_arrow_has_patience_for(tmp_path: Path) -> None:
    """With Arrow's three attempts alone, each of some photos failed three times in a row."""
    came_of_it = calls_fail(tmp_path, share=0.3)
    assert came_of_it.equal
    assert set(came_of_it.notes["failed"]) == {"503", "500", "cut", "half"}


@pytest.mark.slow
def test_a_store_that_goes_away_ends_the_build_which_then_goes_on(tmp_path: Path) -> None:
    came_of_it = store_goes_away(tmp_path)
    notes = came_of_it.notes
    assert "photo-008.jpg" in notes["said"]
    assert "what is done is kept: run the command again (build-banks: with --resume)" in notes["said"]
    assert "\n" not in notes["said"]
    assert (notes["kept"], notes["tasks_kept"], notes["finished"]) == (1, 1, False)
    assert notes["skipped"] == 0
    assert came_of_it.equal


def test_a_file_without_suffix_is_not_taken_for_no_image_because_the_store_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was: and a photo less is a bank that nobody knows to be smaller."""
    monkeypatch.setattr(remote, "_PAUSES", ())
    with flaky_bucket(seed=3) as (store, bucket):
        for name in ("a.gif", "b"):
            bucket.put(name, _GIF)
        entries = open_source(bucket.uri()).entries()
        assert next(entries).source == "a.gif"
        store.share = 1.0
        with pytest.raises(UserError, match=r"^s3://flaky/b: (the store answers|cannot be reached)"):
            list(entries)
