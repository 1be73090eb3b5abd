"""The union estimator against values computed with the published reference code."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from PIL import Image

from art2real.core.estimators import make_estimator
from art2real.core.patches import extract
from tests.core.brute_source import BruteSource

SHARED = Path(__file__).parents[2].parent / "shared"
VALUES = SHARED / "parity" / "contextual_loss.json"
IMAGES = SHARED / "data" / "monet2photo"
CASES = json.loads(VALUES.read_text()) if VALUES.exists() and IMAGES.exists() else []
Found = dict[bytes, tuple[torch.Tensor, torch.Tensor]]
needs_values = pytest.mark.skipif(not CASES, reason="needs ../shared/parity and ../shared/data/monet2photo")


class FaissSource(BruteSource):
    """Searches as the published code does: Euclidean distance of the values, FAISS Flat.

    Rows of pixels are often at exactly the same distance; which of them FAISS finds depends on the processor
    and on how it splits the work. The values were computed with two threads.
    """

    def __init__(self, patches: torch.Tensor) -> None:
        super().__init__(patches)
        self.index = faiss.IndexFlatL2(patches.shape[1])
        self.index.add(patches.numpy())

    def nearest(self, patches: torch.Tensor, k: int) -> torch.Tensor:
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(2)
        try:
            return torch.from_numpy(self.index.search(patches.numpy(), k)[1])
        finally:
            faiss.omp_set_num_threads(threads)


class ExactSource(BruteSource):
    """The same search in whole numbers. `found` keeps the answers to each image in both orders of ties."""

    def __init__(self, patches: torch.Tensor, *, last_first: bool, found: Found) -> None:
        super().__init__(patches)
        self.last_first, self.found = last_first, found
        self.levels = _levels(patches)

    def nearest(self, patches: torch.Tensor, k: int) -> torch.Tensor:
        key = patches.numpy().tobytes()
        if key not in self.found:
            # Below the unit in which distances differ.
            order = torch.arange(len(self.levels), dtype=torch.float64) / len(self.levels)
            norms = self.levels.square().sum(1)
            blocks = []
            for block in _levels(patches).split(256):
                distances = norms - 2 * block @ self.levels.T
                blocks.append(
                    [(distances + each).topk(k, largest=False).indices for each in (order, order.flip(0))]
                )
            first, last = (torch.cat(each) for each in zip(*blocks, strict=True))
            self.found[key] = first, last
        return self.found[key][self.last_first]


def _levels(patches: torch.Tensor) -> torch.Tensor:
    return ((patches.double() + 1) * 127.5).round()


def load(names: list[str]) -> torch.Tensor:
    """`[B, 3, 256, 256]` in [-1, 1]."""
    paths = [next(IMAGES.glob(f"*/{name}")) for name in names]
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


@needs_values
@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case['scales']}x{len(case['generated'])}k{case['k']}"
)
def test_union_with_raw_retrieval_is_the_published_loss(case):
    loss, gradient = loss_and_gradient(case, FaissSource)
    slack = 0.0
    if abs(loss - case["loss"]) > 1e-4:
        # Another processor than that of the values: what it makes of ties has to explain the difference.
        found: Found = {}  # searching is most of the work, and the same for both
        first, gradient = loss_and_gradient(case, partial(ExactSource, last_first=False, found=found))
        last, _ = loss_and_gradient(case, partial(ExactSource, last_first=True, found=found))
        loss, slack = first, abs(first - last)
        assert 0 < slack < 5e-4
    assert loss == pytest.approx(case["loss"], abs=1e-4 + slack)
    assert float(gradient.norm()) == pytest.approx(case["grad_norm"], rel=1e-3)
    for b, c, y, x, value in case["grad_at"]:
        assert float(gradient[b, c, y, x]) == pytest.approx(value, rel=1e-3)


def loss_and_gradient(case, source_of):
    images = load(case["generated"]).requires_grad_()
    bank = load(case["bank"])
    estimator = make_estimator("union", neighbours=case["k"])
    total = torch.zeros(())
    for size, stride in case["scales"]:
        source = source_of(extract(bank, size, stride).flatten(0, 1))
        for patches in extract(images, size, stride):
            loss = estimator.prepare(patches.detach(), source, np.random.default_rng(0))
            total = total + loss(patches) / len(images)
    total.backward()
    return total.item(), images.grad
