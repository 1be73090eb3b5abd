from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from art2real.core.estimators import Exact, PatchSource, Sampled, make_estimator
from art2real.index.queries import make_queries
from art2real.index.retriever import open_retriever
from art2real.index.source import RetrievedScale
from tests.index.banks import NARROW, index_bank, make_bank, request


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> RetrievedScale:
    bank = make_bank(tmp_path_factory.mktemp("bank"))
    index_bank(bank, NARROW, request("IVF16,SQfp16", shards=2, min_recall=0.95))
    return RetrievedScale(bank, NARROW, open_retriever(bank, NARROW, threads=1))


def test_it_is_a_patch_source(source: RetrievedScale) -> None:
    as_source: PatchSource = source
    assert as_source.rows == 12 * 144
    rows = torch.tensor([5, 0, 1000])
    fetched = as_source.fetch(rows)
    everything = torch.cat(list(as_source.blocks()))
    assert torch.equal(fetched, everything[rows])
    torch.testing.assert_close(as_source.mean, everything.mean(0), atol=1e-5, rtol=0)
    assert int(as_source.cells().sizes.sum()) == as_source.rows
    nearest = as_source.nearest(fetched.requires_grad_(), 3)
    assert nearest.dtype == torch.int64
    assert nearest[:, 0].tolist() == rows.tolist()


@pytest.mark.parametrize("name", ["exact", "union", "sparse", "sampled"])
def test_estimators_work_on_it(source: RetrievedScale, name: str) -> None:
    generated = torch.from_numpy(make_queries(source.bank, NARROW, 30, seed=0)).requires_grad_()
    estimator = make_estimator(name, neighbours=None if name == "exact" else 8, draws=256)
    loss = estimator.prepare(generated.detach(), source, np.random.default_rng(0))(generated)
    loss.backward()
    assert generated.grad is not None
    assert torch.isfinite(generated.grad).all()
    assert float(generated.grad.abs().sum()) > 0


def test_sampled_comes_near_to_exact(source: RetrievedScale, tmp_path: Path) -> None:
    queries = torch.from_numpy(make_queries(source.bank, NARROW, 60, seed=1))

    def loss_of(estimator: Exact | Sampled) -> tuple[float, torch.Tensor]:
        generated = queries.clone().requires_grad_()
        loss = estimator.prepare(queries, source, np.random.default_rng(3))(generated)
        loss.backward()
        assert generated.grad is not None
        return loss.item(), generated.grad.ravel()

    exact, exact_gradient = loss_of(Exact())
    sampled, gradient = loss_of(Sampled(neighbours=16, draws=512))
    assert abs(sampled - exact) < 0.15
    assert float(torch.cosine_similarity(gradient, exact_gradient, dim=0)) > 0.9
