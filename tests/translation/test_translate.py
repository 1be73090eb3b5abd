"""Translating images of any size, and the names that the results get."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from art2real.config.tree import Networks
from art2real.core.networks import ResNetGenerator, initialise
from art2real.errors import UsageError, UserError
from art2real.translation import translate
from art2real.translation.translate import plan_outputs, to_pixels, translate_files, translate_image
from art2real.translation.weights import save_generator
from tests.pictures import make_photo, write_photos


class Sizes(torch.nn.Module):
    """Returns its input and remembers its shape."""

    def forward(self, images):
        self.shape = tuple(images.shape)
        return images


@pytest.fixture
def checkpoint(tmp_path):
    generator = ResNetGenerator(4, 1)
    initialise(generator, torch.Generator().manual_seed(0))
    save_generator(generator, Networks(generator_width=4, generator_blocks=1), tmp_path / "weights")
    return tmp_path / "weights"


@pytest.mark.parametrize(
    ("height", "width", "padded"),
    [
        (64, 64, (64, 64)),
        (65, 63, (68, 64)),
        (7, 30, (8, 32)),
        (1, 1, (8, 8)),
        (2, 101, (8, 104)),
        (3, 8, (8, 8)),
    ],
)
def test_any_size_comes_back_in_its_size(height, width, padded):
    picture = make_photo(1, height, width)
    identity = Sizes()
    assert np.array_equal(translate_image(identity, picture), picture)
    assert identity.shape == (1, 3, *padded)


@pytest.mark.parametrize("size", [(48, 64), (50, 61), (3, 5)])
def test_a_real_generator_keeps_the_size(size):
    generator = ResNetGenerator(4, 1).eval()
    assert translate_image(generator, np.full((*size, 3), 90, np.uint8)).shape == (*size, 3)


def test_padding_reflects():
    class Padded(torch.nn.Module):
        def forward(self, images):
            self.images = images
            return images

    catch = Padded()
    picture = make_photo(2, 8, 10)
    translate_image(catch, picture)
    got = to_pixels(catch.images)[0]
    assert np.array_equal(got, np.concatenate([picture, picture[:, [8, 7]]], axis=1))


def test_pixels_are_rounded_clipped_and_never_undefined():
    values = torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0, torch.nan]).repeat(3, 1)[None, :, None, :]
    assert to_pixels(values)[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255, 0]


def test_a_folder_keeps_its_names_and_sub_folders(tmp_path, checkpoint):
    write_photos(tmp_path / "in" / "monet", 2, height=33, width=40)
    write_photos(tmp_path / "in", 1, height=20, width=20)
    steps = []
    result = translate_files(
        [str(tmp_path / "in")],
        checkpoint,
        tmp_path / "out",
        on_progress=lambda done, total: steps.append((done, total)),
    )
    assert sorted(str(target.relative_to(tmp_path / "out")) for _, target in result.files) == [
        "monet/photo-000.png",
        "monet/photo-001.png",
        "photo-000.png",
    ]
    assert steps == [(1, 3), (2, 3), (3, 3)]
    with Image.open(tmp_path / "out" / "monet" / "photo-001.png") as image:
        assert (image.size, image.mode, image.format) == ((40, 33), "RGB", "PNG")
    assert not list((tmp_path / "out").rglob(".*"))


@pytest.mark.parametrize(("name", "suffix"), [("jpeg", ".jpg"), ("webp", ".webp")])
def test_other_formats(tmp_path, checkpoint, name, suffix):
    paths = write_photos(tmp_path / "in", 1)
    translate_files([str(paths[0])], checkpoint, tmp_path / "out", image_format=name)
    with Image.open(tmp_path / "out" / f"photo-000{suffix}") as image:
        assert image.format == name.upper()


def test_orientation_is_applied(tmp_path, checkpoint):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(make_photo(0, 20, 40)).save(tmp_path / "turned.jpg", exif=exif)
    translate_files([str(tmp_path / "turned.jpg")], checkpoint, tmp_path / "out")
    with Image.open(tmp_path / "out" / "turned.png") as image:
        assert image.size == (20, 40)


def test_bad_files_are_skipped_with_a_reason(tmp_path, checkpoint):
    write_photos(tmp_path / "in", 1)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (tmp_path / "in" / "empty.png").touch()
    said = []
    result = translate_files(
        [str(tmp_path / "in")], checkpoint, tmp_path / "out", on_skip=lambda *words: said.append(words)
    )
    assert len(result.files) == 1
    assert [path.name for path, _ in result.skipped] == ["broken.jpg", "empty.png"]
    assert said == list(result.skipped)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo-000.png"]


def test_nothing_translated_is_a_failure(tmp_path, checkpoint):
    (tmp_path / "empty.png").touch()
    with pytest.raises(UserError, match=r"none of the 1 images could be translated; .*empty.png: empty"):
        translate_files([str(tmp_path / "empty.png")], checkpoint, tmp_path / "out")


def test_an_image_too_large_for_one_piece_is_refused(tmp_path, checkpoint, monkeypatch):
    assert translate._LIMITS.max_pixels == translate.MAX_PIXELS
    Image.new("RGB", (5000, 2000)).save(tmp_path / "large.png")
    with pytest.raises(UserError, match=r"too_many_pixels: 5000x2000 pixels, more than 8388608"):
        translate_files([str(tmp_path / "large.png")], checkpoint, tmp_path / "out")


def test_patterns_files_and_folders_name_each_image_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "in", 3)
    plan = plan_outputs(["in/photo-00[01].jpg", "in", "in/photo-000.jpg"], tmp_path / "out", ".png")
    assert [target.name for _, target in plan] == ["photo-000.png", "photo-001.png", "photo-002.png"]
    with pytest.raises(UserError, match=r"in/\*.png: there is no such image, folder or pattern"):
        plan_outputs(["in/*.png"], tmp_path / "out", ".png")


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "nymphéas [1].png")
    plan = plan_outputs([str(tmp_path / "nymphéas [1].png")], tmp_path / "out", ".png")
    assert plan == [(tmp_path / "nymphéas [1].png", tmp_path / "out" / "nymphéas [1].png")]


def test_images_of_one_name_keep_their_folders(tmp_path):
    write_photos(tmp_path / "a", 2)
    write_photos(tmp_path / "b", 1)
    (tmp_path / "b" / "photo-000.jpg").rename(tmp_path / "b" / "photo-000.jpeg")
    plan = plan_outputs([str(tmp_path / "a"), str(tmp_path / "b")], tmp_path / "out", ".png")
    assert [str(target.relative_to(tmp_path / "out")) for _, target in plan] == [
        "a/photo-000.png",
        "photo-001.png",
        "b/photo-000.png",
    ]


def test_images_that_differ_in_their_suffix_alone_get_a_number(tmp_path):
    for suffix in ("jpg", "png", "gif"):
        Image.new("RGB", (20, 20)).save(tmp_path / f"lily.{suffix}")
    plan = plan_outputs([str(tmp_path)], tmp_path / "out", ".png")
    names = [target.relative_to(tmp_path / "out").as_posix() for _, target in plan]
    assert len(set(names)) == 3
    assert all(name.endswith(".png") for name in names)


def test_inputs_are_never_replaced(tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "lily.png")
    with pytest.raises(UsageError, match=r"would replace .*lily.png, which is an input"):
        plan_outputs([str(tmp_path / "lily.png")], tmp_path, ".png")


def test_results_inside_the_input_folder_are_no_inputs_of_the_next_call(tmp_path, checkpoint):
    write_photos(tmp_path / "in", 1)
    for _ in range(2):
        result = translate_files([str(tmp_path / "in")], checkpoint, tmp_path / "in" / "out")
        assert len(result.files) == 1
