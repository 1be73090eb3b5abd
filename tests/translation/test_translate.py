"""From files to files: what is made, what is kept, what is left out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from art2real.data.images import ImageLimits, decode
from art2real.errors import UsageError, UserError
from art2real.translation import translator
from art2real.translation.image import translate_image
from art2real.translation.translate import Plan, Translated, plan_translation, run_plan
from art2real.translation.translations import RECORD
from art2real.translation.translator import in_process, side_by_side
from art2real.translation.weights import load_generator
from tests.checkpoints import write_checkpoint
from tests.pictures import make_photo, write_photos

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with three paintings of two sizes, and two checkpoints."""
    write_photos(tmp_path / "in" / "monet", 2, height=33, width=40)
    write_photos(tmp_path / "in", 1, height=20, width=24, seed=9)
    write_checkpoint(tmp_path / "weights")
    write_checkpoint(tmp_path / "others", 1)
    return tmp_path


def plan(place: Path, *inputs: Path, models=("weights",), out="out", **options) -> Plan:
    checkpoints = {name: place / name for name in models}
    return plan_translation(
        [str(each) for each in inputs or [place / "in"]], checkpoints, place / out, **options
    )


def translate(place: Path, *inputs: Path, models=("weights",), out="out", **options) -> Translated:
    return run_plan(plan(place, *inputs, models=models, out=out, **options))


def files(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in sorted(found.items()) if name != RECORD}


def right(place: Path, source: Path, checkpoint: str = "weights") -> np.ndarray:
    """The translation of a file, without any of this."""
    return translate_image(load_generator(place / checkpoint), decode(source))


def test_a_folder_becomes_a_folder_of_translations(place):
    steps, plans = [], plan(place)
    result = run_plan(plans, on_progress=lambda *numbers: steps.append(numbers))
    assert list(files(place / "out")) == ["monet/photo-000.png", "monet/photo-001.png", "photo-000.png"]
    assert (result.made, result.kept, result.skipped) == (3, 0, ())
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]
    for source, target in result.files:
        assert np.array_equal(decode(target), right(place, Path(source)))
        assert Image.open(target).format == "PNG"
    # Those of one size come together.
    assert [picture.size for picture in plans.to_do] == [(20, 24), (36, 40), (36, 40)]


@pytest.mark.parametrize(("name", "suffix"), [("jpeg", ".jpg"), ("webp", ".webp")])
def test_other_formats(place, name, suffix):
    sizes = []
    for quality in (None, 30):
        translate(place, place / "in" / "photo-000.jpg", image_format=name, quality=quality)
        target = place / "out" / f"photo-000{suffix}"
        sizes.append(target.stat().st_size)
        with Image.open(target) as picture:
            assert picture.format == name.upper()
    assert sizes[0] > sizes[1]
    with pytest.raises(UsageError, match="quality 30: png keeps every value"):
        plan(place, quality=30)


def test_orientation_is_applied(place):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(make_photo(0, 20, 40)).save(place / "turned.jpg", exif=exif)
    translate(place, place / "turned.jpg")
    assert decode(place / "out" / "turned.png").shape == (40, 20, 3)


def test_several_checkpoints_and_pictures_beside_each_other(place):
    result = translate(place, models=("weights", "others"), side_by_side=True)
    assert len(result.files) == 6
    made = files(place / "out")
    assert len(made) == 9
    for source in sorted((place / "in").rglob("*.jpg")):
        name = source.relative_to(place / "in").with_suffix(".png")
        parts = [decode(source), *(right(place, source, each) for each in ("weights", "others"))]
        for folder, pixels in zip(("weights", "others"), parts[1:], strict=True):
            assert np.array_equal(decode(place / "out" / folder / name), pixels)
        assert not np.array_equal(parts[1], parts[2])
        beside = decode(place / "out" / "side-by-side" / name)
        assert np.array_equal(beside, side_by_side(parts))
        height, width = parts[0].shape[:2]
        assert beside.shape == (height, 3 * width + 4, 3)
        assert (beside[:, width : width + 2] == 255).all()


def test_a_picture_beside_is_made_of_what_is_there(place):
    """The translations are kept as they are."""
    translate(place)
    before = {path: path.stat().st_mtime_ns for path in (place / "out").rglob("*.png")}
    result = translate(place, side_by_side=True)
    assert (result.made, result.kept) == (3, 0)
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    name = "monet/photo-001"
    source = place / "in" / f"{name}.jpg"
    expected = side_by_side([decode(source), right(place, source)])
    assert np.array_equal(decode(place / "out" / "side-by-side" / f"{name}.png"), expected)


def test_a_large_image_is_one_and_comes_last(place, monkeypatch):
    """It was refused above eight million pixels."""
    Image.new("RGB", (5000, 2000)).save(place / "in" / "large.png")
    planned = plan(place)
    assert [picture.is_large for picture in planned.to_do] == [False, False, False, True]
    monkeypatch.setattr(translator, "translate_image", lambda generator, pixels: pixels)
    run_plan(planned)
    assert decode(place / "out" / "large.png").shape == (2000, 5000, 3)


# Bad files


def test_bad_files_are_left_out_with_a_reason(place):
    (place / "in" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (place / "in" / "empty.png").touch()
    said = []
    result = run_plan(plan(place), on_skip=lambda *words: said.append(words))
    assert (result.made, len(result.files)) == (3, 3)
    assert sorted(said) == [
        (f"{place}/in/broken.jpg", "not_an_image: not in an image format that can be read"),
        (f"{place}/in/empty.png", "empty: the file has no bytes"),
    ]
    assert list(result.skipped) == said
    assert len(files(place / "out")) == 3
    # The next call tries them again, and keeps the others.
    again = translate(place)
    assert (again.made, again.kept, len(again.skipped)) == (0, 3, 2)


def test_nothing_translated_is_a_failure(place):
    (place / "empty.png").touch()
    with pytest.raises(UserError, match=r"none of the 1 images could be translated; .*empty.png: empty"):
        translate(place, place / "empty.png")


def test_a_name_that_cannot_be_written_is_one_image_s_fault(place):
    (place / "in" / f"{'x' * 251}.jpg").write_bytes((place / "in" / "photo-000.jpg").read_bytes())
    (place / "out" / "monet" / "photo-000.webp").mkdir(parents=True)
    result = translate(place, image_format="webp")
    assert result.made == 2
    reasons = dict(result.skipped)
    assert "File name too long" in reasons[f"{place}/in/{'x' * 251}.jpg"]
    assert "Is a directory" in reasons[f"{place}/in/monet/photo-000.jpg"]


def test_a_side_that_the_format_cannot_hold_is_one_image_s_fault(place):
    Image.new("RGB", (17_000, 9)).save(place / "in" / "long.png")
    result = translate(place, image_format="webp")
    assert result.made == 3
    assert "webp holds sides up to 16383" in result.skipped[0][1]


def test_a_folder_that_cannot_be_written_is_one_error(place):
    (place / "out").write_text("a file")
    with pytest.raises(UserError, match="out: is a file; choose another --out"):
        translate(place)
    (place / "full").mkdir()
    (place / "full" / RECORD).mkdir()
    with pytest.raises(UserError, match=f"{RECORD}: cannot be read: Is a directory"):
        translate(place, out="full")


# What must not be replaced


def test_inputs_are_never_replaced(place):
    Image.new("RGB", (20, 20)).save(place / "lily.png")
    with pytest.raises(UsageError, match=r"would replace .*lily.png, which is an input"):
        plan(place, place / "lily.png", out=".")
    (place / "link").symlink_to(place)
    with pytest.raises(UsageError, match=r"would replace .*lily.png, which is an input"):
        plan(place, place / "lily.png", out="link")


def test_results_inside_the_input_folder_are_no_inputs_of_the_next_call(place):
    for expected in (3, 0):
        result = translate(place, out="in/out", side_by_side=True)
        assert (result.made, len(result.files)) == (expected, 3)


def test_folders_that_would_be_mixed_up_are_refused(place):
    write_photos(place / "in" / "side-by-side", 1)
    translate(place)
    with pytest.raises(UsageError, match="the images have a folder called side-by-side"):
        plan(place, side_by_side=True)
    (place / "others").rename(place / "side-by-side")
    with pytest.raises(UsageError, match="a checkpoint cannot be called side-by-side"):
        plan(place, models=("weights", "side-by-side"), side_by_side=True)


# Going on


def test_only_what_is_missing_or_has_changed_is_made(place):
    translate(place)
    assert plan(place).to_do == []
    (place / "out" / "photo-000.png").unlink()
    (place / "out" / "monet" / "photo-001.png").write_bytes(b"cut")
    assert {each.name for each in plan(place).to_do} == {"photo-000.png", "monet/photo-001.png"}
    assert (translate(place).made, translate(place).made) == (2, 0)

    Image.fromarray(make_photo(5)).save(place / "in" / "photo-000.jpg")
    os.utime(place / "in" / "monet" / "photo-000.jpg", ns=(0, 0))
    write_photos(place / "in" / "new", 1)
    changed = {each.name for each in plan(place).to_do}
    assert changed == {"photo-000.png", "monet/photo-000.png", "new/photo-000.png"}
    translate(place)
    assert np.array_equal(
        decode(place / "out" / "photo-000.png"), right(place, place / "in" / "photo-000.jpg")
    )


def test_other_weights_formats_and_qualities_are_other_results(place):
    translate(place, image_format="jpeg")
    assert len(plan(place, image_format="jpeg", quality=95).to_do) == 0
    assert len(plan(place, image_format="jpeg", quality=94).to_do) == 3
    assert len(plan(place, image_format="png").to_do) == 3
    assert len(plan(place, models=("others",), image_format="jpeg").to_do) == 3
    assert len(plan(place, image_format="jpeg", overwrite=True).to_do) == 3
    # The same weights from elsewhere are the same.
    (place / "weights").rename(place / "moved")
    assert plan(place, models=("moved",), image_format="jpeg").to_do == []


def test_overwrite_makes_all_anew(place):
    before = translate(place)
    times = [path.stat().st_mtime_ns for _, path in before.files]
    again = translate(place, overwrite=True)
    assert (again.made, again.kept) == (3, 0)
    assert all(path.stat().st_mtime_ns > at for (_, path), at in zip(before.files, times, strict=True))


def test_results_of_other_images_in_the_folder_are_kept(place):
    translate(place, place / "in" / "monet")
    translate(place, place / "in" / "photo-000.jpg")
    assert plan(place, place / "in" / "monet").to_do != []  # both have a photo-000.png
    translate(place, place / "in" / "monet" / "photo-001.jpg", overwrite=True)
    assert plan(place, place / "in" / "photo-000.jpg").to_do == []


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_line_that_was_cut_off_costs_one_result(place, cut):
    translate(place)
    whole = (place / "out" / RECORD).read_bytes()
    (place / "out" / RECORD).write_bytes(whole[:-cut])
    assert len(plan(place).to_do) == (1 if cut > 1 else 0)
    translate(place)
    assert plan(place).to_do == []
    assert len((place / "out" / RECORD).read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "line", ["[]", "null", "{}", '{"bytes": 1, "result": []}', '{"bytes": 1, "result": "x", "y": 1}']
)
def test_a_record_of_something_else_is_none(place, line):
    (place / "out").mkdir()
    (place / "out" / RECORD).write_text(f"{line}\n\xff\n")
    assert translate(place).made == 3
    assert plan(place).to_do == []


def test_the_record_says_what_a_result_was_made_from(place):
    translate(place, place / "in" / "photo-000.jpg", image_format="webp", quality=50)
    (line,) = map(json.loads, (place / "out" / RECORD).read_text().splitlines())
    assert len(line.pop("checkpoint")) == 64
    source = place / "in" / "photo-000.jpg"
    assert line == {
        "result": "photo-000.webp",
        "source": str(source),
        "source_bytes": source.stat().st_size,
        "source_modified": source.stat().st_mtime_ns,
        "format": "webp",
        "quality": 50,
        "bytes": (place / "out" / "photo-000.webp").stat().st_size,
    }


def test_what_is_done_stays_when_the_work_is_interrupted(place):
    """Ctrl-C."""

    def interrupted(job, pictures):
        with closing(in_process(job, pictures)) as done:
            yield next(done)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_plan(plan(place), do_pictures=interrupted)
    assert len(plan(place).to_do) < 3
    assert not list((place / "out").rglob(".*"))


KILLED = """
import sys, time
from pathlib import Path
from art2real.translation import translator
from art2real.translation.translate import plan_translation, run_plan

write = translator._write_file
def slowly(target, content):
    write(target, content)
    if target.name == "photo-002.png":
        target.with_name(".translating-0123456789abcdef.tmp").write_bytes(content[:50])
        print("now", flush=True)
        time.sleep(60)
translator._write_file = slowly
run_plan(plan_translation([sys.argv[1]], {"m": Path(sys.argv[2])}, Path(sys.argv[3])))
"""


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(place):
    write_photos(place / "many", 5, height=16, width=20)
    arguments = [str(place / each) for each in ("many", "weights", "out")]
    begun = subprocess.Popen([sys.executable, "-c", KILLED, *arguments], stdout=subprocess.PIPE, text=True)
    assert begun.stdout is not None
    assert begun.stdout.readline() == "now\n"
    begun.send_signal(signal.SIGKILL)
    begun.wait()
    # The third was complete but not in the record yet.
    assert len(plan(place, place / "many").to_do) == 3
    result = translate(place, place / "many")
    assert (result.made, result.kept) == (3, 2)
    translate(place, place / "many", out="undisturbed")
    assert files(place / "out") == files(place / "undisturbed")


def test_two_at_a_time_are_kept_apart(place):
    def second(job, pictures):
        with pytest.raises(UserError, match="is building in it"):
            translate(place)
        yield from in_process(job, pictures)

    assert run_plan(plan(place), do_pictures=second).made == 3


def test_a_checkpoint_that_changes_meanwhile_is_refused(place):
    planned = plan(place)
    for path in (place / "others").iterdir():
        path.replace(place / "weights" / path.name)
    with pytest.raises(UserError, match="weights: changed since the work was planned"):
        run_plan(planned)


# Batches, which only a GPU makes


def test_batches_hold_images_of_one_size_and_no_more_than_fit(place, monkeypatch):
    for number, size in enumerate([(8, 8), (8, 8), (6, 7), (8, 8), (9, 8), (16, 16), (16, 16)]):
        Image.fromarray(make_photo(number, *size)).save(place / "in" / f"{number}.png")
    (place / "in" / "bad.png").write_bytes(b"\x89PNG")
    alone = translate(place, out="alone")
    batches = []
    made = translator._translated
    monkeypatch.setattr(translator, "_translated", lambda g, each: batches.append(each) or made(g, each))
    monkeypatch.setattr(translator, "_BATCH_PIXELS", 3 * 64)

    def as_on_a_gpu(job, pictures):
        worker = translator.Translator(job, torch.device("cpu"))
        worker._batch_pixels = translator._BATCH_PIXELS
        order = list(worker(pictures))
        assert [picture for picture, _ in order] == list(pictures)
        yield from order

    result = run_plan(plan(place), do_pictures=as_on_a_gpu)
    assert [[each.shape[:2] for each in batch] for batch in batches] == [
        [(8, 8), (8, 8), (6, 7)],
        [(8, 8)],
        [(9, 8)],
        [(16, 16)],
        [(16, 16)],
        [(20, 24)],
        [(33, 40)],
        [(33, 40)],
    ]
    assert len(result.skipped) == len(alone.skipped) == 1
    for name in files(place / "alone"):
        one, other = (decode(place / each / name, ImageLimits(min_side=1)) for each in ("alone", "out"))
        assert np.abs(one.astype(int) - other).max() <= 1


def test_a_batch_without_room_is_done_one_by_one(place, monkeypatch):
    made = translator._translated

    def with_little_memory(generator, images):
        if len(images) > 1 or images[0].shape[0] == 20:
            raise torch.OutOfMemoryError
        return made(generator, images)

    monkeypatch.setattr(translator, "_translated", with_little_memory)

    def as_on_a_gpu(job, pictures):
        worker = translator.Translator(job, torch.device("cpu"))
        worker._batch_pixels = 2**20
        yield from worker(pictures)

    result = run_plan(plan(place), do_pictures=as_on_a_gpu)
    assert result.made == 2
    assert result.skipped == (
        (f"{place}/in/photo-000.jpg", "too_many_pixels: too large for the GPU's memory"),
    )
