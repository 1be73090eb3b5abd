"""Making a study: what belongs together, what participants see, and that nothing tells who made it."""

from __future__ import annotations

import hashlib
import io
import re
import struct
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from art2real.data.images import decode, square
from art2real.errors import UsageError, UserError
from art2real.study.attention import spoiled
from art2real.study.create import create_study
from art2real.study.design import CHECK, DESIGN, IMAGES, REAL, Exclusion, read_design
from art2real.study.matching import match_names
from art2real.study.plan import Plan
from art2real.study.schedule import schedule
from tests.pictures import make_photo, write_photos


@pytest.fixture
def folders(tmp_path):
    """Fourteen results of two systems, in other formats and sub-folders, full of marks of who made them."""
    systems = {"CycleGAN": tmp_path / "cyclegan", "Ours": tmp_path / "ours"}
    marks = PngImagePlugin.PngInfo()
    marks.add_text("Comment", "Ours, secret mark")
    exif = Image.Exif()
    exif[0x0131] = "CycleGAN, secret mark"
    for number in range(14):
        one = systems["CycleGAN"] / "deep" / f"p{number:02d}.jpg"
        other = systems["Ours"] / f"p{number:02d}.png"
        for path in (one, other):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_photo(number, 64, 70)).save(one, exif=exif, comment=b"secret mark")
        Image.fromarray(make_photo(50 + number, 80, 64)).save(other, pnginfo=marks)
    write_photos(tmp_path / "real", 9, seed=100)
    write_photos(tmp_path / "paintings", 14, seed=200)
    for path in (tmp_path / "paintings").iterdir():
        path.rename(path.with_name(f"p{path.stem[-2:]}.jpg"))
    return systems


def plan(folders, **changes):
    return Plan(
        **{"kind": "realism", "sets": folders, "trials": 6, "exclusion": Exclusion(), "size": 64, **changes}
    )


def chunks(content):
    """The kinds of a PNG's chunks."""
    found, at = [], 8
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        found.append(kind)
        at += 12 + length
    return found


def test_nothing_tells_who_made_a_picture(tmp_path, folders):
    created = create_study(plan(folders), tmp_path / "study")
    files = sorted((tmp_path / "study" / IMAGES).iterdir())
    assert {path.name for path in files} == created.design.files
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == [DESIGN, IMAGES]
    assert all(re.fullmatch(r"[0-9a-f]{16}\.png", path.name) for path in files)
    assert len({path.stat().st_mtime_ns for path in files}) == 1
    assert len({path.stat().st_mode for path in files}) == 1
    for path in files:
        content = path.read_bytes()
        assert set(chunks(content)) == {b"IHDR", b"IDAT", b"IEND"}
        with Image.open(io.BytesIO(content)) as image:
            assert (image.mode, image.size, image.info) == ("RGB", (64, 64), {})
    # Names are drawn anew each time: the seed, which a publication tells, does not tell them.
    again = create_study(plan(folders), tmp_path / "again").design
    assert not created.design.files & again.files
    assert not created.design.by_id.keys() & again.by_id.keys()
    assert created.design.secret != again.secret
    assert [trial.item for trial in created.design.judged] == [trial.item for trial in again.judged]


def test_names_have_no_order_of_the_systems(tmp_path, folders):
    design = create_study(
        plan(folders, attention=0, practice=0, exclusion=Exclusion(max_attention_failures=0)),
        tmp_path / "study",
    ).design
    systems = [
        picture.system
        for picture in sorted(
            (each for trial in design.judged for each in (trial.first, trial.second)),
            key=lambda each: each.file,
        )
    ]
    # Written by system there would be 1 change, in turns 27; random names have 14 with a deviation of 2.6.
    changes = sum(one != other for one, other in pairwise(systems))
    assert Counter(systems) == {"CycleGAN": 14, "Ours": 14}
    assert 2 < changes < 26


def test_pictures_are_those_of_the_one_resizer(tmp_path, folders):
    study = tmp_path / "study"
    design = create_study(plan(folders, size=48), study).design
    assert design == read_design(study)
    for trial in design.judged:
        assert trial.systems == ("CycleGAN", "Ours")
        assert trial.right is None
        assert trial.first.item == trial.second.item == trial.item
        for picture in trial.pictures:
            path = study / IMAGES / picture.file
            assert hashlib.sha256(path.read_bytes()).hexdigest() == picture.sha256
            stem = picture.item.rsplit("/", 1)[-1]
            file = f"deep/{stem}.jpg" if picture.system == "CycleGAN" else f"{stem}.png"
            expected = square(decode(folders[picture.system] / file), 48)
            assert (decode(path) == expected).all()
            assert (picture.width, picture.height, trial.size) == (48, 48, 48)


def test_images_of_checks_are_not_judged_if_there_are_enough(tmp_path, folders):
    created = create_study(plan(folders), tmp_path / "study")
    judged = {trial.item for trial in created.design.judged}
    plain = {trial.item for trial in (*created.design.practice, *created.design.checks)}
    assert (len(judged), len(plain), judged & plain) == (8, 6, set())
    assert not created.notes
    created = create_study(plan(folders, trials=14), tmp_path / "whole")
    assert len(created.design.judged) == 14
    assert "judged as well" in created.notes[0]


@pytest.mark.parametrize("kind", ["realism", "coherency", "real-vs-generated"])
def test_checks_have_an_answer_that_cannot_be_missed(tmp_path, folders, kind):
    with_kind = {
        "realism": {},
        "coherency": {"paintings": tmp_path / "paintings"},
        "real-vs-generated": {"real": tmp_path / "real"},
    }
    study = tmp_path / "study"
    design = create_study(plan(folders, kind=kind, **with_kind[kind]), study).design
    assert design.questions == (kind,)
    plain = (*design.practice, *design.checks)
    assert Counter(trial.role for trial in plain) == {"practice": 3, "attention": 3}
    for trial in plain:
        assert trial.right == "first"
        assert trial.systems == (CHECK, CHECK)
        assert (trial.painting is not None) == (kind == "coherency")
        # Neighbours of a picture are alike; those of a spoiled one hardly.
        right, wrong = (grain(decode(study / IMAGES / each.file)) for each in (trial.first, trial.second))
        assert wrong > 3 * right
    if kind == "coherency":
        assert all(trial.second.item != trial.item == trial.painting.item for trial in plain)
    assert len({trial.second.file for trial in plain}) == 6


def grain(pixels):
    return np.abs(np.diff(pixels.astype(float), axis=0)).mean()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (67, 70), (5, 3), (1, 1)])
def test_a_spoiled_picture_keeps_its_colours_and_nothing_else(height, width):
    pixels = make_photo(0, 80, 80)[:height, :width]
    result = spoiled(pixels, np.random.default_rng(0))
    assert (result.shape, result.dtype) == (pixels.shape, np.uint8)
    assert (result != pixels).any()
    if height == width == 64:
        assert abs(result.mean() - pixels.mean()) < 6
        assert abs(np.corrcoef(result.ravel(), pixels.ravel())[0, 1]) < 0.3
        assert (result == spoiled(pixels, np.random.default_rng(0))).all()


def test_photos_are_told_from_results_at_three_sizes(tmp_path, folders):
    design = create_study(
        plan(
            folders,
            kind="real-vs-generated",
            sets={"Ours": folders["Ours"]},
            real=tmp_path / "real",
            size=256,
            trials=7,
        ),
        tmp_path / "study",
    ).design
    assert design.sizes == (256, 170, 128)
    assert design.power.answers_each == pytest.approx(7 / 3)
    assert {trial.systems for trial in design.judged} == {(REAL, "Ours")}
    assert {trial.right for trial in design.judged} == {"first"}
    assert Counter(trial.size for trial in design.judged) == {
        size: len(design.judged) // 3 for size in design.sizes
    }
    for trial in design.judged:
        assert {(each.width, each.height) for each in trial.pictures} == {(trial.size, trial.size)}
    used = Counter(trial.first.item for trial in design.judged)
    assert len(used) == 9
    assert max(used.values()) - min(used.values()) <= 1
    for participant in range(len(design.judged) // 7):
        photos = [
            each.trial.first.item for each in schedule(design, participant) if each.trial.role == "trial"
        ]
        assert len(set(photos)) == 7


def test_paintings_stand_beside_their_results(tmp_path, folders):
    (tmp_path / "paintings" / "p03.jpg").unlink()
    created = create_study(
        plan(folders, kind="coherency", paintings=tmp_path / "paintings", practice=0, attention=2),
        tmp_path / "study",
    )
    trials = created.design.judged
    assert len(trials) == 11
    assert all(trial.painting.item == trial.item for trial in trials)
    assert {trial.painting.system for trial in trials} == {"paintings"}
    assert sorted(created.design.left_out) == [
        "CycleGAN: deep/p03.jpg: no image of this name in paintings",
        "Ours: p03.png: no image of this name in paintings",
    ]


def test_three_systems_meet_in_all_pairs(tmp_path, folders):
    write_photos(tmp_path / "third", 14, seed=300)
    for path in (tmp_path / "third").iterdir():
        path.rename(path.with_name(f"p{path.stem[-2:]}.jpg"))
    design = create_study(plan({**folders, "Third": tmp_path / "third"}), tmp_path / "study").design
    pairs = Counter(trial.systems for trial in design.judged)
    assert set(pairs) == {("CycleGAN", "Ours"), ("CycleGAN", "Third"), ("Ours", "Third")}
    assert set(pairs.values()) == {8}


def test_bad_images_are_left_out_by_name_and_leave_no_copy(tmp_path, folders):
    (folders["Ours"] / "p05.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (folders["Ours"] / "alone.png").write_bytes((folders["Ours"] / "p01.png").read_bytes())
    seen = []
    created = create_study(plan(folders), tmp_path / "study", lambda *counts: seen.append(counts))
    assert seen == [(number, 14) for number in range(1, 15)]
    left_out = sorted(created.design.left_out)
    assert left_out[0].startswith("Ours: alone.png: no image of this name in CycleGAN")
    assert left_out[1].startswith("Ours: p05.png: ")
    assert len(left_out) == 2
    assert all("p05" not in trial.item for trial in created.design.trials)
    assert {path.name for path in (tmp_path / "study" / IMAGES).iterdir()} == created.design.files


def test_what_should_be_known_is_noted(tmp_path, folders):
    for number in range(14):
        Image.fromarray(make_photo(number)[:40]).save(folders["Ours"] / f"p{number:02d}.png")
    real = tmp_path / "few"
    write_photos(real, 2)
    created = create_study(plan(folders, kind="real-vs-generated", real=real, trials=20), tmp_path / "study")
    notes = "; ".join(created.notes)
    assert "14 images of Ours are smaller than 64 pixels" in notes
    assert "CycleGAN are smaller" not in notes
    assert "the 2 real photos several times" in notes
    assert "the 14 images several times" in notes
    same = {"A": folders["Ours"], "B": tmp_path / "copy"}
    same["B"].mkdir()
    for path in same["A"].iterdir():
        (same["B"] / path.name).write_bytes(path.read_bytes())
    notes = create_study(plan(same), tmp_path / "same").notes
    assert "in 8 of 14 trials both pictures are the same, to the pixel" in notes


def test_it_is_there_whole_or_not_at_all(tmp_path, folders, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr("art2real.study.create.write_design", full)
    with pytest.raises(UserError, match="No space left"):
        create_study(plan(folders), tmp_path / "study")
    assert sorted(tmp_path.iterdir()) == before


def test_a_study_is_never_overwritten(tmp_path, folders):
    study = tmp_path / "study"
    study.mkdir()  # an empty folder may be there
    create_study(plan(folders), study)
    content = (study / DESIGN).read_bytes()
    with pytest.raises(UsageError, match="is a study already"):
        create_study(plan(folders, seed=1), study)
    assert (study / DESIGN).read_bytes() == content
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    for place in (tmp_path / "other", tmp_path / "other" / "file"):
        with pytest.raises(UsageError, match="holds something else"):
            create_study(plan(folders), place)


def test_images_are_matched_by_path_and_then_by_name():
    found, left_out = match_names(
        {
            "A": ["x/1.jpg", "y/1.jpg", "2.png", "deep/3.tif", "4.jpg", "4.png", "5.jpg"],
            "B": ["x/1.png", "y/1.png", "2.png", "3.jpg", "4.jpg", "u/5.jpg", "v/5.jpg", "6.jpg"],
        }
    )
    assert {each.item: each.files for each in found} == {
        "x/1": {"A": "x/1.jpg", "B": "x/1.png"},
        "y/1": {"A": "y/1.jpg", "B": "y/1.png"},
        "2": {"A": "2.png", "B": "2.png"},
        "deep/3": {"A": "deep/3.tif", "B": "3.jpg"},
    }
    assert left_out == [
        "A: 4.jpg: 2 images of this name in A",
        "A: 4.png: 2 images of this name in A",
        "A: 5.jpg: 2 images of this name in B",
        "B: 4.jpg: 2 images of this name in A",
        "B: u/5.jpg: 2 images of this name in B",
        "B: v/5.jpg: 2 images of this name in B",
        "B: 6.jpg: no image of this name in A",
    ]
