"""Sources in Google's object store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from art2real.data.images import ImageLimits
from art2real.data.sources import open_source, read_entry
from art2real.errors import UserError
from tests.data.sources import gcs_server


@pytest.fixture(scope="module")
def options():
    """What to add to an address, so that it is looked for in the test server."""
    command = [sys.executable, str(Path(gcs_server.__file__))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        yield f"?endpoint_override=127.0.0.1:{int(server.stdout.readline())}&scheme=http"
        server.kill()


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("", ["p/a b.jpg", "p/c.jpg", "p/c/d?.jpg", "p/c0.jpg", "p/name"]),
        ("/p", ["a b.jpg", "c.jpg", "c/d?.jpg", "c0.jpg", "name"]),
        ("/p/*/*.jpg", ["c/d?.jpg"]),
    ],
)
def test_trees_and_patterns_are_listed_and_read(options, place, expected):
    # Nothing marks `p/` as a folder, as in all buckets that were filled with Google's own tools.
    source = open_source(f"gs://bucket{place}{options}", anonymous=True)
    entries = list(source.entries())
    assert [entry.source for entry in entries] == expected
    assert source.origin == f"gs://bucket{place}"
    root = "" if place == "" else "p/"
    for entry in entries:
        content = gcs_server.OBJECTS[root + entry.source]
        assert read_entry(entry, ImageLimits(), anonymous=True) == content
        assert entry.bytes == len(content)


@pytest.mark.parametrize("place", ["/gone", "/gone/*.jpg", "/gone.tar", "/gone.txt"])
def test_what_is_not_there_is_one_line(options, place):
    with pytest.raises(UserError, match="there is no such file or folder") as error:
        list(open_source(f"gs://bucket{place}{options}", anonymous=True).entries())
    assert "\n" not in str(error.value)
