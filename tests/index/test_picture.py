from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.pictures import save_picture
from art2real.errors import UserError
from art2real.index.exact import ExactRetriever
from art2real.index.matches import as_data, choose_patches, find_matches
from art2real.index.picture import draw_matches
from tests.index.banks import NARROW, WIDE, make_bank
from tests.pictures import make_photo


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> MemoryBank:
    return make_bank(tmp_path_factory.mktemp("bank"), photos=4)


def exact(bank: MemoryBank, *scales: Scale) -> dict[Scale, ExactRetriever]:
    return {scale: ExactRetriever(bank, scale) for scale in scales}


def test_a_photo_of_the_bank_finds_itself(bank: MemoryBank) -> None:
    photo = bank.photos[2]
    found = find_matches(bank, photo.pixels, exact(bank, WIDE, NARROW), patches=3, k=2)
    assert [each.scale for each in found] == [WIDE, NARROW]
    for each in found:
        assert each.rows == bank.rows(each.scale)
        assert len(each.matches) == 3
        for match in each.matches:
            best = match.neighbours[0]
            assert best.similarity == pytest.approx(1, abs=1e-5)
            assert (best.source, best.y, best.x) == (photo.source, match.y, match.x)
            np.testing.assert_array_equal(best.pixels, match.pixels)


def test_a_photo_of_the_bank_is_rebuilt_from_itself(bank: MemoryBank) -> None:
    photo = bank.photos[2]
    for each in find_matches(bank, photo.pixels, exact(bank, WIDE, NARROW)):
        np.testing.assert_array_equal(each.rebuilt, photo.pixels)
        assert each.photos_used == 1
        [drawn] = each.photos
        assert (drawn.photo, drawn.source, drawn.share) == (2, photo.source, 1)
        assert drawn.patches == len(each.scale.positions(48, 48)[0])


def test_photos_drawn_from_are_counted(bank: MemoryBank) -> None:
    halves = np.concatenate([bank.photos[3].pixels[:, :12], bank.photos[1].pixels[:, 12:]], axis=1)
    [each] = find_matches(bank, halves, exact(bank, NARROW))
    assert [(drawn.photo, drawn.patches, drawn.share) for drawn in each.photos] == [
        (1, 12 * 9, 0.75),
        (3, 12 * 3, 0.25),
    ]
    np.testing.assert_array_equal(each.rebuilt, halves)


class FindsLittle:
    """Finds no real patch for all but the first query."""

    def __init__(self, retriever: ExactRetriever) -> None:
        self._retriever = retriever

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores, rows = self._retriever.search(queries, k)
        scores[1:], rows[1:] = -np.inf, -1
        return scores, rows


def test_patches_without_a_real_one_are_grey_and_counted(bank: MemoryBank) -> None:
    photo = bank.photos[0].pixels
    [each] = find_matches(bank, photo, {NARROW: FindsLittle(ExactRetriever(bank, NARROW))})
    np.testing.assert_array_equal(each.rebuilt[:4, :4], photo[:4, :4])
    assert (each.rebuilt[4:] == 128).all()
    assert [(drawn.photo, drawn.patches) for drawn in each.photos] == [(0, 1)]
    assert each.photos[0].share == pytest.approx(1 / 144)
    draw_matches(bank, photo, [each])


def test_chosen_patches_are_contrasty_spread_and_seeded() -> None:
    random = np.random.default_rng(0)
    places = np.stack(np.divmod(np.arange(100), 10), axis=1) * 8
    vectors = np.repeat(random.normal(size=(100, 3)), 16, axis=1)  # plain, each of another strong colour
    rich = np.array([11, 12, 18, 81, 88, 89])
    vectors[rich] += random.normal(size=(6, 48))
    chosen = choose_patches(vectors, places, 4, seed=1)
    assert set(chosen) <= set(rich)
    distances = np.linalg.norm(places[chosen][:, None] - places[chosen][None], axis=2)
    assert distances[np.triu_indices(4, 1)].min() > 8 * 3
    np.testing.assert_array_equal(chosen, choose_patches(vectors, places, 4, seed=1))


def test_plain_and_tiny_images_have_patches_too(bank: MemoryBank) -> None:
    assert len(choose_patches(np.zeros((3, 48)), np.zeros((3, 2)), 4, seed=0)) <= 3
    plain = np.full((48, 48, 3), 90, np.uint8)
    [each] = find_matches(bank, plain, exact(bank, WIDE), k=1)
    assert len({(match.y, match.x) for match in each.matches}) == 4
    tiny = np.zeros((4, 4, 3), np.uint8)
    found = find_matches(bank, tiny, exact(bank, WIDE, NARROW), k=1)
    assert [(each.scale, len(each.matches)) for each in found] == [(NARROW, 1)]


def test_fewer_rows_than_neighbours(bank: MemoryBank) -> None:
    total = bank.rows(WIDE)
    [each] = find_matches(bank, make_photo(77, 48, 48), exact(bank, WIDE), patches=1, k=total + 5)
    rows = [neighbour.row for neighbour in each.matches[0].neighbours]
    assert sorted(rows) == list(range(total))


@pytest.mark.parametrize("shape", [(48, 48), (32, 96), (96, 32)])
def test_the_picture_shows_patches_and_boxes(
    bank: MemoryBank, tmp_path: Path, shape: tuple[int, int]
) -> None:
    image = make_photo(5, *shape)
    found = find_matches(bank, image, exact(bank, WIDE, NARROW), k=3)
    save_picture(draw_matches(bank, image, found), tmp_path / "new" / "matches.png")
    drawn = np.array(Image.open(tmp_path / "new" / "matches.png"))
    assert drawn.shape[1] > 800
    text = np.abs(drawn.astype(int) - (250, 249, 246)).sum(axis=2) > 30
    assert not text[:, :10].any()
    assert not text[:, -10:].any()
    assert not text[-10:].any()
    # What the image was rebuilt to stands below it, in its colours.
    mean = found[0].rebuilt.mean(axis=(0, 1))
    height, width = (round(300 * side / max(shape)) for side in shape)
    top = 24 + 40 + height + 8 + 30
    np.testing.assert_allclose(drawn[top : top + height, 24 : 24 + width].mean(axis=(0, 1)), mean, atol=4)
    # A patch is drawn in its own pixels, each as a square.
    pixel = found[0].matches[0].pixels[0, 0]
    assert (drawn == pixel).all(axis=2).sum() >= 81
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["matches.png"]


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"picture .*matches\.png cannot be written"):
        save_picture(Image.new("RGB", (4, 4)), tmp_path / "file" / "matches.png")


def test_data_has_everything_but_pixels(bank: MemoryBank) -> None:
    found = find_matches(bank, bank.photos[0].pixels, exact(bank, NARROW), patches=1, k=2)
    [scale] = as_data(found)
    assert (scale["size"], scale["stride"], scale["rows"]) == (4, 4, bank.rows(NARROW))
    [patch] = scale["patches"]
    assert patch["neighbours"][0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert set(patch["neighbours"][0]) == {
        "row",
        "similarity",
        "photo",
        "source",
        "attribution",
        "y",
        "x",
    }
