"""Which real photos the regions of a picture come from."""

from __future__ import annotations

import base64
import io
import json
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.manifest import BankSettings
from art2real.index.exact import ExactRetriever
from art2real.index.retriever import open_retriever
from art2real.translation import explanation_data
from art2real.translation.explain import explain
from tests.index.banks import NARROW, WIDE, index_bank, make_bank, make_half_plain_bank, request
from tests.pictures import make_photo

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return make_bank(tmp_path_factory.mktemp("bank"), photos=6)


@pytest.fixture(scope="module")
def retrievers(bank):
    return {scale: ExactRetriever(bank, scale) for scale in (WIDE, NARROW)}


def picture_of(uri, kind):
    head, _, content = uri.partition(",")
    assert head == f"data:image/{kind};base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_each_region_has_its_nearest_real_patches(bank, retrievers):
    picture = make_photo(99, 61, 45)
    found = explain(picture, bank, retrievers, k=4, regions=60)
    assert 40 < found.regions.count <= 60
    assert [each.scale for each in found.scales] == [WIDE, NARROW]
    for each in found.scales:
        size = each.scale.size
        everything = bank.vectors(each.scale, np.arange(bank.rows(each.scale))).astype(np.float64)
        everything -= bank.mean(each.scale)
        everything /= np.linalg.norm(everything, axis=1, keepdims=True)
        for region, (y, x) in enumerate(zip(*found.regions.patches(size), strict=True)):
            assert (each.y[region], each.x[region]) == (y, x)
            patch = picture[y : y + size, x : x + size].transpose(2, 0, 1).reshape(-1) / 127.5 - 1
            patch = patch - bank.mean(each.scale)
            cosines = everything @ (patch / np.linalg.norm(patch))
            best = np.sort(cosines)[: -4 - 1 : -1]
            np.testing.assert_allclose(each.similarity[region], best, atol=1e-5)
            np.testing.assert_allclose(cosines[each.rows[region]], best, atol=1e-5)
        rows = each.rows.ravel()
        places = zip(each.squares.flat, each.square_y.flat, each.square_x.flat, strict=True)
        for pixels, (square, y, x) in zip(bank.patches(each.scale, rows), places, strict=True):
            assert np.array_equal(bank.photos[square].pixels[y : y + size, x : x + size], pixels)


def test_photos_are_named_once_with_their_shares(bank, retrievers):
    picture = np.concatenate([bank.photos[3].pixels, bank.photos[1].pixels[:24]])
    found = explain(picture, bank, retrievers, regions=10**6)
    for number, each in enumerate(found.scales):
        # Regions are as small as the least stride: most of their patches are copies of the bank's.
        nearest = each.squares[:, 0]
        for photo in found.photos:
            assert photo.shares[number] == pytest.approx((nearest == photo.number).mean())
    numbers = [photo.number for photo in found.photos]
    assert len(set(numbers)) == len(numbers)
    assert numbers[:2] == [3, 1]
    shares = [photo.share for photo in found.photos]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)
    first = found.photos[0]
    assert first.source == "photo-003.jpg"
    assert first.place == str(bank.path.parent / "photos" / "photo-003.jpg")
    assert (first.width, first.height) == (48, 48)


def test_plain_patches_have_no_source(tmp_path):
    bank = make_half_plain_bank(tmp_path)
    retrievers = {}
    for scale in (WIDE, NARROW):
        index_bank(bank, scale, request("Flat"))
        retrievers[scale] = open_retriever(bank, scale, threads=1)
    picture = np.full((48, 48, 3), 100, np.uint8)
    picture[:24] = make_photo(3, 24, 48)
    found = explain(picture, bank, retrievers, k=2, regions=36)
    for each in found.scales:
        plain = each.y >= 24
        assert 0.2 < plain.mean() < 0.6
        assert ((each.rows >= 0).all(axis=1) == ~plain).all()
        assert np.isneginf(each.similarity[plain]).all()
        assert (each.squares[plain] == -1).all()
    wide, *_ = found.to_dict(pictures=True)["scales"]
    assert [bool(neighbours) for *_, neighbours in wide["regions"]] == (found.scales[0].y < 24).tolist()
    shares = sum(photo.shares[0] for photo in found.photos)
    assert shares == pytest.approx((found.scales[0].y < 24).mean())

    nothing = explain(np.full((48, 48, 3), 100, np.uint8), bank, retrievers)
    assert nothing.photos == ()
    data = nothing.to_dict(pictures=True)
    assert (data["photos"], data["squares"], data["thumbnails"]["count"]) == ([], [], 0)


def test_more_neighbours_than_the_bank_has(bank, retrievers):
    rows = bank.rows(WIDE)
    found = explain(make_photo(7, 30, 30), bank, {WIDE: retrievers[WIDE]}, k=rows + 5, regions=2)
    assert (found.scales[0].rows[:, rows:] == -1).all()
    [scale] = found.to_dict(pictures=False)["scales"]
    assert [len(neighbours) for *_, neighbours in scale["regions"]] == [rows] * found.regions.count


def test_scales_that_do_not_fit_are_left_out(bank, retrievers):
    assert [each.scale for each in explain(make_photo(1, 5, 40), bank, retrievers).scales] == [NARROW]
    found = explain(make_photo(1, 3, 40), bank, retrievers)
    assert (found.scales, found.photos) == ((), ())
    assert found.to_dict(pictures=True)["scales"] == []


def test_a_giant_picture_is_bounded(bank):
    class Counting:
        queries = 0

        def search(self, queries, k):
            self.queries += len(queries)
            return np.ones((len(queries), k), np.float32), np.zeros((len(queries), k), np.int64)

    counting = Counting()
    giant = np.broadcast_to(np.uint8([200, 30, 90]), (8192, 8192, 3))
    tracemalloc.start()
    found = explain(giant, bank, {WIDE: counting}, regions=200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counting.queries == found.regions.count <= 200
    assert peak < 8 * 2**20


def test_places_in_the_original_photo(tmp_path):
    """Tiles of a photo that needs no scaling: what was found lies in the file, pixel by pixel."""
    (tmp_path / "photos").mkdir()
    wide, tall = make_photo(1, 24, 80), make_photo(2, 60, 24)
    Image.fromarray(wide).save(tmp_path / "photos" / "a.png")
    Image.fromarray(tall).save(tmp_path / "photos" / "b.png")
    settings = BankSettings(image_size=24, scales=(NARROW,), fit="tile", min_side=16)
    build_bank(tmp_path / "photos", tmp_path / "bank", settings)
    bank = MemoryBank.open(tmp_path / "bank")
    assert len(bank.photos) == 5
    picture = np.concatenate([wide[:, 30:54], tall[10:34]])
    data = explain(picture, bank, {NARROW: ExactRetriever(bank, NARROW)}, k=2).to_dict(pictures=True)
    assert sorted(photo["source"] for photo in data["photos"]) == ["a.png", "b.png"]
    [scale] = data["scales"]
    size, columns = scale["size"], scale["patches"]["columns"]
    atlas = picture_of(scale["patches"]["uri"], "png")
    files = {"a.png": wide, "b.png": tall}
    rows = scale["patches"]["rows"]
    for *_, neighbours in scale["regions"]:
        for numbers in neighbours:
            named = dict(zip(data["neighbour_fields"], numbers, strict=True))
            square = data["squares"][named["square"]]
            y, x = int(named["photo_y"]), int(named["photo_x"])
            assert (y, x) == (square["y"] + named["y"], square["x"] + named["x"])
            original = files[data["photos"][square["photo"]]["source"]]
            line, column = divmod(rows.index(named["row"]), columns)
            tile = atlas[line * size : (line + 1) * size, column * size : (column + 1) * size]
            assert np.array_equal(tile, original[y : y + size, x : x + size])
    assert {square["photo"] for square in data["squares"]} == {0, 1}
    thumbnails = data["thumbnails"]
    sheet = picture_of(thumbnails["uri"], "jpeg")
    assert sheet.shape[1] == thumbnails["columns"] * thumbnails["size"]
    assert thumbnails["count"] == len(data["squares"])


def test_places_in_a_scaled_photo(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.fromarray(make_photo(1, 96, 200)).save(tmp_path / "photos" / "a.png")
    build_bank(tmp_path / "photos", tmp_path / "bank", BankSettings(image_size=48, scales=(NARROW,)))
    bank = MemoryBank.open(tmp_path / "bank")
    found = explain(bank.photos[0].pixels, bank, {NARROW: ExactRetriever(bank, NARROW)}, k=1)
    data = found.to_dict(pictures=False)
    # The photo's middle square of 96 pixels was halved.
    for top, left, [[similarity, square, y, x, photo_y, photo_x, _]] in data["scales"][0]["regions"]:
        assert (similarity, square, y, x) == (1, 0, top, left)
        assert (photo_y, photo_x) == (2 * y, 52 + 2 * x)


def test_data_is_json_and_always_the_same(bank, retrievers, monkeypatch):
    picture = make_photo(5, 40, 52)
    one, two = (explain(picture, bank, retrievers).to_dict(pictures=True) for _ in range(2))
    assert json.dumps(one, allow_nan=False) == json.dumps(two)
    plain = explain(picture, bank, retrievers).to_dict(pictures=False)
    assert "thumbnails" not in plain
    assert all("patches" not in scale for scale in plain["scales"])
    assert all(photo["place"].startswith("/") for photo in plain["photos"])
    remote = explain(picture, bank, retrievers).to_dict(pictures=False, local_paths=False)
    assert all(photo["place"] is None for photo in remote["photos"])

    monkeypatch.setattr(explanation_data, "MOST_THUMBNAILS", 2)
    monkeypatch.setattr(explanation_data, "_ATLAS_PIXELS", 10 * WIDE.size**2)
    bounded = explain(picture, bank, retrievers).to_dict(pictures=True)
    assert bounded["thumbnails"]["count"] == 2
    wide, _ = bounded["scales"]
    kept = wide["patches"]["rows"]
    assert len(kept) == len(set(kept)) == 10
    # Those that stay are nearest ones.
    assert set(kept) <= {neighbours[0][-1] for *_, neighbours in wide["regions"]}


def test_wrong_numbers_are_errors(bank, retrievers):
    with pytest.raises(ValueError, match="k must be"):
        explain(make_photo(1, 48, 48), bank, {Scale(8, 4): open_exact(bank)}, k=0)
    with pytest.raises(ValueError, match="must be at least 1"):
        explain(make_photo(1, 48, 48), bank, retrievers, regions=0)


def open_exact(bank):
    index_bank(bank, WIDE, request("Flat"))
    return open_retriever(bank, WIDE, threads=1)
