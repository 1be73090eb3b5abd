"""Paintings that lie in a bucket of an object store."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from art2real.data.images import decode
from art2real.translation.image import translate_image
from art2real.translation.translate import plan_translation, run_plan
from art2real.translation.weights import load_generator
from tests.checkpoints import write_checkpoint
from tests.pictures import make_photo

pytestmark = pytest.mark.usefixtures("one_thread")


def as_png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(make_photo(seed, 20, 24)).save(file, "PNG")
    return file.getvalue()


def test_a_bucket_s_paintings_are_translated_once(bucket, tmp_path):
    bucket.put("art/monet/lily.png", as_png(1))
    bucket.put("art/one.png", as_png(2))
    bucket.put("art/bad.png", b"\x89PNG")
    checkpoint = write_checkpoint(tmp_path / "weights")

    def plan(*rest: str):
        texts = [bucket.uri(each) for each in rest]
        return plan_translation(texts, {"m": checkpoint}, tmp_path / "out")

    result = run_plan(plan("/art", "/art/one.png", "/art/mo*/*.png"))
    assert result.made == 2
    assert [source.rpartition("?")[0] for source, _ in result.skipped] == [f"s3://{bucket.name}/art/bad.png"]
    for name, seed in (("monet/lily.png", 1), ("one.png", 2)):
        right = translate_image(load_generator(checkpoint), make_photo(seed, 20, 24))
        assert np.array_equal(decode(tmp_path / "out" / name), right)

    bucket.put("art/monet/lily.png", as_png(3))
    assert {each.name for each in plan("/art").to_do} == {"monet/lily.png", "bad.png"}
