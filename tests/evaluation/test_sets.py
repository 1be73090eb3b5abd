"""How users name sets, and the mistakes that are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from art2real.errors import UsageError
from art2real.evaluation.sets import ImageSet, check_apart, parse_artist, parse_set


def test_sets_have_a_name_and_perhaps_an_artist():
    assert parse_set("Original paintings=a/b=c") == ImageSet("Original paintings", Path("a/b=c"))
    assert parse_set("Monet/Ours=x") == ImageSet("Ours", Path("x"), "Monet")
    assert parse_set("Monet/Ours=x").label == "Monet/Ours"
    assert parse_set("CycleGAN=x").label == "CycleGAN"


@pytest.mark.parametrize("text", ["", "folder", "=folder", "Name=", "/Ours=x", "Monet/=x", " =x"])
def test_what_names_no_set(text):
    with pytest.raises(UsageError, match="write NAME=DIR"):
        parse_set(text)


def test_photos_are_for_all_or_for_one_artist(tmp_path):
    assert parse_artist("photos", "--real") == ("", Path("photos"))
    assert parse_artist("Monet=photos", "--real") == ("Monet", Path("photos"))
    odd = tmp_path / "a=b"
    odd.mkdir()
    assert parse_artist(str(odd), "--real") == ("", odd)
    with pytest.raises(UsageError, match="--real"):
        parse_artist("=photos", "--real")


def test_a_row_is_not_there_twice(tmp_path):
    sets = [ImageSet("A", tmp_path / "a"), ImageSet("B", tmp_path / "b")]
    check_apart([("", tmp_path / "real")], sets)
    # The same name under two artists is two rows.
    check_apart([], [ImageSet("A", tmp_path / "a", "Monet"), ImageSet("A", tmp_path / "b", "Cezanne")])
    with pytest.raises(UsageError, match="two sets are called A"):
        check_apart([], [*sets, ImageSet("A", tmp_path / "c")])
    with pytest.raises(UsageError, match="is given twice, as A and as C"):
        check_apart([], [*sets, ImageSet("C", tmp_path / "x" / ".." / "a")])
    with pytest.raises(UsageError, match="is given twice, as --real and as A"):
        check_apart([("", tmp_path / "a")], sets)
