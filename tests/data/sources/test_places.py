"""Addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from art2real.data.sources import open_source
from art2real.data.sources.places import Address, parse_address
from art2real.errors import UsageError, UserError

KEYS = st.lists(
    st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1),
    min_size=1,
    max_size=4,
)
VALUES = st.text(st.characters(exclude_characters="@:/", exclude_categories=["Cs"]), min_size=1)


@given(KEYS, st.dictionaries(st.sampled_from(["region", "scheme"]), VALUES))
def test_addresses_survive_being_written(names, options):
    address = Address("s3", "/".join(["bucket", *names]), tuple(sorted(options.items())))
    assert parse_address(address.uri) == address
    assert parse_address(address.origin) == Address("s3", address.path)


def test_what_people_type_is_understood():
    assert parse_address("S3://bucket/a b#1%20.jpg/").path == "bucket/a b#1 .jpg"
    assert parse_address("gs://bucket").uri == "gs://bucket"


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("127.0.0.1:9000", {"endpoint_override": "127.0.0.1:9000"}),
        ("http://127.0.0.1:9000/", {"endpoint_override": "127.0.0.1:9000", "scheme": "http"}),
    ],
)
def test_an_endpoint_comes_from_the_address_or_the_environment(monkeypatch, endpoint, expected):
    assert dict(parse_address(f"s3://bucket/a?endpoint_override={endpoint}").options) == expected
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    assert dict(parse_address("s3://bucket/a").options) == expected
    assert parse_address("gs://bucket/a").options == ()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "other:1")
    assert dict(parse_address("s3://bucket/a").options) == {"endpoint_override": "other:1"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://user:SECRET@host/photos?sig=SECRET", "http:// is not supported"),
        ("s3://KEY:SECRET@bucket/photos", "credentials do not belong into an address"),
        ("s3://KEY:SECRET/SECRET@bucket/photos", "s3://bucket/photos: credentials do not belong"),
        ("s3://KEY%3ASECRET%40bucket/photos", "credentials do not belong"),
        ("https://KEY:SECRET/SECRET@host/photos", "https://host/photos: https:// is not supported"),
        (
            "s3://bucket/photos?endpoint_override=KEY:SECRET@host",
            "credentials do not belong into an endpoint",
        ),
        ("s3://bucket/photos?secret_key=SECRET", "unknown option 'secret_key'; known are endpoint_override"),
        ("gs://bucket/photos?region=x", "unknown option 'region'"),
        ("s3:///photos", "names no bucket"),
        ("s3://bucket/%ff", "not UTF-8"),
        ("s3://buck*/photos", "a pattern cannot stand for buckets"),
        ("s3://bucket/photo.jpg", "no source of photos that is known; give a folder"),
        ("s3://bucket/photos.tar.gz", "unpack it"),
        ("file://elsewhere/photos", "another machine"),
    ],
)
def test_addresses_that_cannot_be_sources_are_refused_at_once(text, words):
    with pytest.raises(UsageError) as error:
        open_source(text)
    assert words in str(error.value)
    assert "SECRET" not in str(error.value)


def test_what_is_not_there_or_not_known_is_refused_at_once(tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(UsageError, match=r"no source of photos that is known; give a folder"):
        open_source(str(tmp_path / "photo.jpg"))
    for name in ("gone", "gone.txt", "gone.tar"):
        with pytest.raises(UserError, match=f"{name}: there is no such file or folder"):
            open_source(str(tmp_path / name))
