"""A folder of photos stylised by a folder of paintings."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from art2real.data.images import decode, scaled
from art2real.errors import UsageError, UserError
from art2real.evaluation.style_pairs import PAIRS, StyleSettings, pair_up, result_names
from art2real.evaluation.style_transfer import plan_transfer, stylise_folder
from art2real.evaluation.stylist import Stylist
from tests.evaluation.style_weights import write_style_weights
from tests.pictures import make_photo, write_photos

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = StyleSettings(size=16, steps=2)


@pytest.fixture
def weights(style_weights):
    return style_weights


@pytest.fixture
def folders(tmp_path):
    write_photos(tmp_path / "photos", 3, height=24, width=36)
    write_photos(tmp_path / "paintings", 2, height=40, width=20, seed=50)
    return tmp_path


def plan(folders: Path, weights, settings=QUICK, **options):
    return plan_transfer(
        folders / "photos", folders / "paintings", folders / "out", settings, weights, **options
    )


def run(folders: Path, weights, settings=QUICK, **options):
    return stylise_folder(plan(folders, weights, settings, **options))


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


names = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=30, unique=True)


@given(names, names, st.integers(0, 2**32))
def test_paintings_are_used_equally_often(contents, styles, seed):
    pairs = pair_up(contents, styles, seed)
    assert [pair.content for pair in pairs] == contents
    counts = Counter(pair.style for pair in pairs)
    used = [counts[style] for style in styles]
    assert set(counts) <= set(styles)
    assert max(used) - min(used) <= 1
    assert pair_up(contents, styles, seed) == pairs


def test_another_seed_pairs_otherwise():
    contents, styles = [f"{n}.jpg" for n in range(20)], [f"{n}.png" for n in range(20)]
    assert len({tuple(pair.style for pair in pair_up(contents, styles, seed)) for seed in range(10)}) == 10


def test_names_of_results_are_told_apart():
    assert result_names(["a.jpg", "a.png", "a-2.gif", "b/a.jpg", "c"]) == [
        "a.png", "a-2.png", "a-2-2.png", "b/a.png", "c.png",
    ]  # fmt: skip


def test_makes_every_photo_and_says_how(folders, weights):
    (folders / "photos/sub").mkdir()
    (folders / "photos/photo-001.jpg").rename(folders / "photos/sub/photo-001.jpg")
    seen = []
    made = stylise_folder(plan(folders, weights), on_progress=lambda *numbers: seen.append(numbers))
    assert (made.made, made.kept, made.skipped) == (3, 0, ())
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    results = ["photo-000.png", "photo-002.png", "sub/photo-001.png"]
    assert sorted(state(folders / "out")) == [PAIRS, *results]
    for name in results:
        assert decode(folders / "out" / name).shape == (16, 24, 3)
    record = json.loads((folders / "out" / PAIRS).read_text())
    assert record["settings"] == {"size": 16, "steps": 2, "style_weight": 1e5, "seed": 0}
    assert record["weights_sha256"] == weights.sha256
    assert record["published"] is False
    assert [pair["result"] for pair in record["pairs"]] == results
    assert {pair["style"] for pair in record["pairs"]} == {"photo-000.jpg", "photo-001.jpg"}


def test_the_record_is_there_before_the_first_image(folders, weights):
    def interrupted(job, pairs):
        assert (folders / "out" / PAIRS).is_file()
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        stylise_folder(plan(folders, weights), do_pairs=interrupted)
    assert run(folders, weights).made == 3


def test_next_to_no_style_leaves_the_photo_as_it_is(folders, weights):
    """Orientation, order of the colours and range are those of the photo."""
    path = folders / "photos/photo-000.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(make_photo(1, 24, 36)).save(path, exif=exif)
    run(folders, weights, StyleSettings(size=20, steps=2, style_weight=1e-9))
    result = decode(folders / "out/photo-000.png")
    assert result.shape == (30, 20, 3)
    assert np.abs(result.astype(int) - scaled(decode(path), 20, longest=4)).max() <= 1


def test_the_style_is_that_of_the_painting(folders, weights):
    """Photos stylised by a dark and by a bright picture become darker and brighter."""
    settings = StyleSettings(size=16, steps=10)
    for name, value in (("photo-000.jpg", 20), ("photo-001.jpg", 235)):
        Image.fromarray(np.full((20, 20, 3), value, np.uint8)).save(folders / "paintings" / name)
    planned = plan(folders, weights, settings)
    stylise_folder(planned)
    for pair in planned.pairs.pairs:
        before, after = (
            decode(folders / name).mean() for name in (f"photos/{pair.content}", f"out/{pair.result}")
        )
        assert after < before - 10 if pair.style == "photo-000.jpg" else after > before + 10


def test_goes_on_where_it_was(folders, weights):
    run(folders, weights)
    whole = state(folders / "out")
    (folders / "out/photo-001.png").unlink()
    remnants = [f".photo-001.png{what}.{'0' * 32}.tmp" for what in ("", ".attempt")]
    for name in (*remnants, f".notes.txt.{'0' * 32}.tmp"):
        (folders / "out" / name).touch()
    again = run(folders, weights)
    assert (again.made, again.kept) == (1, 2)
    found = state(folders / "out")
    assert found.pop(f".notes.txt.{'0' * 32}.tmp")[1] == b""  # not ours
    assert {name: content for name, (_, content) in found.items()} == {
        name: content for name, (_, content) in whole.items()
    }
    assert all(found[name] == whole[name] for name in whole if name != "photo-001.png")
    last = run(folders, weights)
    assert (last.made, last.kept) == (0, 3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 20}, "--size 16, not 20"),
        ({"steps": 3}, "--steps 2, not 3"),
        ({"style_weight": 10.0}, "--style-weight 100000.0, not 10.0"),
        ({"seed": 1}, "--seed 0, not 1"),
        ("weights", "other weights"),
        ("photos", "other photos"),
        ("paintings", "other paintings"),
    ],
)
def test_other_settings_are_refused(folders, weights, change, words):
    run(folders, weights)
    before = state(folders / "out")
    settings = QUICK
    if change == "weights":
        weights = replace(weights, sha256="0" * 64)
    elif isinstance(change, str):
        write_photos(folders / change, 1, seed=70)
    else:
        settings = QUICK.model_copy(update=change)
    with pytest.raises(
        UserError, match=f"out: was begun with {words}; choose another --out, or .*--overwrite"
    ):
        run(folders, weights, settings)
    assert state(folders / "out") == before


def test_overwrite_makes_all_anew(folders, weights):
    run(folders, weights)
    before = state(folders / "out")
    (folders / "out/mine.txt").write_text("kept")
    (folders / "photos/photo-002.jpg").unlink()
    other = QUICK.model_copy(update={"steps": 3})
    assert run(folders, weights, other, overwrite=True).made == 2
    after = state(folders / "out")
    assert sorted(after) == ["mine.txt", PAIRS, "photo-000.png", "photo-001.png"]
    assert after["photo-000.png"][1] != before["photo-000.png"][1]


def test_photos_that_cannot_be_used_are_named(folders, weights):
    (folders / "photos/broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    os.rename(folders / "photos/photo-001.jpg", os.fsencode(folders / "photos") + b"/caf\xe9.jpg")  # noqa: PTH104
    told = []
    made = stylise_folder(plan(folders, weights), on_skip=lambda *words: told.append(words))
    assert made.made == 3
    assert made.skipped == tuple(told)
    assert [name for name, _ in told] == ["broken.jpg"]
    assert "not in an image format" in told[0][1]
    assert os.path.exists(os.fsencode(folders / "out") + b"/caf\xe9.png")  # noqa: PTH110
    assert run(folders, weights).kept == 3


def test_paintings_that_cannot_be_used_are_left_out(folders, weights):
    (folders / "paintings/broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    planned = plan(folders, weights)
    assert [(each.style, "not in an image" in each.reason) for each in planned.pairs.left_out] == [
        ("broken.jpg", True)
    ]
    assert {pair.style for pair in planned.pairs.pairs} == {"photo-000.jpg", "photo-001.jpg"}
    stylise_folder(planned)
    # It is still named when the call goes on, and nothing is decoded for that.
    assert plan(folders, weights).pairs == planned.pairs


def test_without_a_painting_it_ends(folders, weights):
    for path in (folders / "paintings").iterdir():
        path.write_bytes(b"\xff\xd8\xff nothing")
    with pytest.raises(UserError, match=r"paintings: none of its 2 paintings can be used; photo-000.jpg: "):
        plan(folders, weights)
    assert not (folders / "out").exists()


def test_a_painting_that_goes_away_costs_its_photos_only(folders, weights):
    planned = plan(folders, weights)
    (folders / "paintings/photo-000.jpg").unlink()
    made = stylise_folder(planned)
    lost = {pair.content for pair in planned.pairs.pairs if pair.style == "photo-000.jpg"}
    assert {name for name, _ in made.skipped} == lost
    assert all("its painting photo-000.jpg: " in reason for _, reason in made.skipped)
    assert made.made == 3 - len(lost)


def test_a_loss_that_is_no_number_costs_one_photo(folders, tmp_path):
    """A photo that is its own painting has no style loss; that of another overflows."""
    strong = write_style_weights(tmp_path / "strong", gain=1e5)
    for path in (folders / "paintings").iterdir():
        path.unlink()
    (folders / "photos/photo-002.jpg").unlink()
    (folders / "paintings/it.jpg").write_bytes((folders / "photos/photo-000.jpg").read_bytes())
    made = run(folders, strong, QUICK.model_copy(update={"style_weight": 1e38}))
    assert made.made == 1
    ((name, reason),) = made.skipped
    assert name == "photo-001.jpg"
    assert "is no finite number; try a lower --style-weight" in reason
    assert sorted(state(folders / "out")) == [PAIRS, "photo-000.png"]


def test_without_any_result_it_fails(folders, weights):
    for path in (folders / "photos").iterdir():
        path.write_bytes(b"\xff\xd8\xff nothing")
    with pytest.raises(UserError, match=r"none of the 3 photos could be stylised; photo-000.jpg: "):
        run(folders, weights)


def test_files_of_others_are_left_alone(folders, weights):
    (folders / "out").mkdir()
    (folders / "out/photo-001.png").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"photo-001.png: is there already and no result"):
            run(folders, weights, overwrite=overwrite)
    assert sorted(state(folders / "out")) == ["photo-001.png"]


@pytest.mark.parametrize("what", ["photos", "paintings"])
def test_inputs_are_never_where_results_go(folders, weights, what):
    before = state(folders / what)
    with pytest.raises(UsageError, match=r"--out .* is --(content|style) too"):
        plan_transfer(folders / "photos", folders / "paintings", folders / what, QUICK, weights)
    assert state(folders / what) == before


def test_results_may_lie_below_the_photos(folders, weights):
    out = folders / "photos/stylised"
    for kept in (0, 3):
        planned = plan_transfer(folders / "photos", folders / "paintings", out, QUICK, weights)
        assert stylise_folder(planned).kept == kept
    assert len(planned.pairs.pairs) == 3


def test_weights_of_another_network_are_refused_before_anything_is_written(folders, weights, tmp_path):
    from safetensors.torch import load_file, save_file

    tensors = load_file(weights.path)
    del tensors["features.28.weight"]
    save_file(tensors, tmp_path / "other.safetensors")
    from art2real.evaluation.weights import find_weights

    other = find_weights("vgg19", tmp_path / "other.safetensors", any_weights=True)
    with pytest.raises(UserError, match=r"not weights of vgg19: features\.28\.weight is missing"):
        run(folders, other)
    assert not (folders / "out").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"format_version": 9}', "format version 9 is not known"),
    ],
)
def test_a_record_that_cannot_be_read_is_said(folders, weights, content, words):
    (folders / "out").mkdir()
    (folders / "out" / PAIRS).write_text(content)
    with pytest.raises(UserError, match=f"pairs.json: {words}"):
        plan(folders, weights)


def test_a_record_does_not_reach_out_of_its_folder(folders, weights):
    run(folders, weights)
    path = folders / "out" / PAIRS
    path.write_text(path.read_text().replace('"photo-000.png"', '"../photos/photo-000.jpg"'))
    with pytest.raises(UserError, match="damaged"):
        run(folders, weights, overwrite=True)
    assert (folders / "photos/photo-000.jpg").is_file()


def test_an_estimate_is_made_with_the_first_pair_that_can_be_read(folders, weights):
    (folders / "photos/a.jpg").write_bytes(b"\xff\xd8\xff nothing")
    planned = plan(folders, weights)
    stylist = Stylist(planned.job, torch.device("cpu"))
    assert stylist.seconds(planned.missing) > 0
    with pytest.raises(UserError, match=r"no image can be stylised: a.jpg, "):
        stylist.seconds(planned.missing[:1])
    assert not (folders / "out").exists()
