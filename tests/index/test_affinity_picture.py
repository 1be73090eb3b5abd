from __future__ import annotations

import numpy as np
import pytest
import torch

from art2real.core.affinity import unit
from art2real.core.contextual import BANDWIDTH, EPSILON
from art2real.core.patches import extract, to_signed
from art2real.index.affinity_picture import AffinityPanels, affinity_panels, draw_affinity
from art2real.index.exact import ExactRetriever
from art2real.index.retriever import open_retriever
from art2real.index.source import RetrievedScale
from tests.index.banks import WIDE, index_bank, make_bank, request
from tests.pictures import make_photo


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return make_photo(90, 48, 48)


def open_source(folder: pytest.TempPathFactory, photos: int) -> RetrievedScale:
    bank = make_bank(folder.mktemp("bank"), photos=photos)
    index_bank(bank, WIDE, request("Flat"))
    return RetrievedScale(bank, WIDE, open_retriever(bank, WIDE, threads=1))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> RetrievedScale:
    """More rows than `sampled` draws."""
    return open_source(tmp_path_factory, 40)


@pytest.fixture(scope="module")
def panels(source: RetrievedScale, image: np.ndarray) -> AffinityPanels:
    return affinity_panels(source, ExactRetriever(source.bank, WIDE), WIDE, image)


def test_exact_entries_are_those_of_the_whole_matrix(
    source: RetrievedScale, image: np.ndarray, panels: AffinityPanels
) -> None:
    signed = to_signed(torch.from_numpy(image)).permute(2, 0, 1)[None]
    patches = unit(extract(signed, WIDE.size, WIDE.stride)[0], source.mean).double()
    everything = unit(torch.cat(list(source.blocks())), source.mean).double()
    distance = (1 - patches @ everything.T).clamp_(min=0)
    tau = distance.min(1, keepdim=True).values + EPSILON
    whole = torch.softmax((1 - distance / tau) / BANDWIDTH, dim=1).numpy()
    exact = panels.matrices["exact"]
    assert exact.shape == (16, sum(panels.groups))
    best = np.sort(whole.max(axis=1))
    for row in exact:
        patch = whole[np.abs(whole.max(axis=1) / row.max() - 1).argmin()]
        assert np.abs(best / row.max() - 1).min() < 1e-3
        distances = np.abs(np.sort(patch)[None] - row[:, None]).min(axis=1)
        np.testing.assert_allclose(distances, 0, atol=1e-4 * row.max())


def test_estimators_fill_what_they_retrieve(panels: AffinityPanels) -> None:
    near, drawn, others = panels.groups
    filled = {name: np.isfinite(matrix) for name, matrix in panels.matrices.items()}
    assert filled["exact"].all()
    assert (filled["sparse"].sum(axis=1) == 5).all()
    assert not filled["sparse"][:, near:].any()
    assert filled["union"][:, :near].all()  # the index finds what exact search finds
    assert (filled["sampled"] >= filled["sparse"]).all()
    assert filled["sampled"][:, near : near + drawn].all()
    assert drawn == 30
    assert not filled["sampled"][:, near + drawn :].all()
    assert others > 0


def test_fewer_columns_make_larger_affinities(panels: AffinityPanels) -> None:
    ratios = panels.ratios
    assert ratios["exact"] == 1
    assert ratios["sampled"] == pytest.approx(1, abs=0.1)
    assert ratios["sparse"] > ratios["union"] > 1.05
    both = np.isfinite(panels.matrices["sparse"])
    assert (panels.matrices["sparse"][both] > panels.matrices["exact"][both]).all()
    np.testing.assert_allclose(np.nansum(panels.matrices["sparse"], axis=1), 1, atol=1e-4)


def test_a_bank_taken_whole_is_exact(tmp_path_factory: pytest.TempPathFactory, image: np.ndarray) -> None:
    source = open_source(tmp_path_factory, 12)
    panels = affinity_panels(source, ExactRetriever(source.bank, WIDE), WIDE, image)
    exact, sampled = panels.matrices["exact"], panels.matrices["sampled"]
    np.testing.assert_allclose(sampled, exact, rtol=0.02, atol=1e-6)


def test_an_image_of_one_patch_is_drawn_too(source: RetrievedScale) -> None:
    panels = affinity_panels(source, ExactRetriever(source.bank, WIDE), WIDE, make_photo(91, 8, 8))
    assert panels.matrices["exact"].shape[0] == 1
    assert draw_affinity(panels, WIDE).width > 1000


def test_the_picture_shows_entries_and_gaps(panels: AffinityPanels) -> None:
    drawn = np.array(draw_affinity(panels, WIDE))
    assert drawn.shape[1] > 1000
    assert (drawn == (0xE8, 0xE6, 0xE0)).all(axis=2).mean() > 0.2  # not retrieved
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 100  # colours of affinities
    assert (drawn[:3] == 255).all()
