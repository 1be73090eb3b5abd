"""How near each estimator's loss and gradient come to those of the whole bank, and what it costs."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import faiss
import numpy as np
import torch
from retrieval_bank import SCALES, Corpus, indexed
from retrieval_tried import ControlVariate, heaviest_alone, mean_share

from art2real.core import estimators
from art2real.core.affinity import full_precision, streamed_affinity, unit
from art2real.core.contextual import BANDWIDTH, EPSILON
from art2real.core.estimators import Estimator, PatchSource, Sampled, Sparse, Union
from art2real.core.patches import extract, to_signed
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.index.factory import IndexSpec
from art2real.index.learn import training_rows
from art2real.index.manifest import Trained, check_index
from art2real.index.retriever import open_retriever
from art2real.index.source import RetrievedScale

PUBLISHED = "union k=5, raw L2 (published)"
DEFAULT = "sampled k=32 M=4096 (default)"
RECIPE = "sampled k=32 M=4096, chances by mean share"
CONTROLLED = "sampled k=32 M=4096, control variate by cell"
HEAVY = "sampled k=32 M=4096, chances by A_i squared"
# Other k and M of `sampled`.
OTHERS = (
    (5, 4096),
    (20, 4096),
    (64, 4096),
    (128, 4096),
    (32, 2048),
    (32, 8192),
    (128, 2048),
    (256, 1024),
)


@dataclass(frozen=True)
class Variant:
    """An estimator over a source, and what is set otherwise meanwhile."""

    estimator: Estimator
    source: PatchSource
    chances: Callable[..., torch.Tensor] | None = None


@dataclass
class Measured:
    """Of one variant, a value an image."""

    cosines: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def rows(corpus: Corpus) -> list[dict[str, object]]:
    """Every estimator at each scale, over eight images of 256 px."""
    result = []
    images = torch.from_numpy(np.stack([image for _, image in corpus.images()]))
    signed = to_signed(images).permute(0, 3, 1, 2)
    for scale in SCALES:
        bank = indexed(corpus.bank(), scale)
        source = RetrievedScale(bank, scale, open_retriever(bank, scale))
        values, gradients, seconds = exact(source, scale, signed, corpus.work / f"exact-{scale.name}.npz")
        result.append(_row(scale, "exact, streamed", Measured([1.0], [1.0], [0.0], [seconds / len(images)])))
        for name, measured in _compare(_variants(source), scale, signed, values, gradients).items():
            result.append(_row(scale, name, measured))
            print(result[-1], flush=True)
    return result


def _variants(source: RetrievedScale) -> dict[str, Variant]:
    found = {
        PUBLISHED: Variant(Union(), RawSource(source)),
        "union k=5": Variant(Union(), source),
        "union k=20": Variant(Union(neighbours=20), source),
        "sparse k=5": Variant(Sparse(), source),
        RECIPE: Variant(Sampled(), source, mean_share),
        HEAVY: Variant(Sampled(), source, heaviest_alone),
        CONTROLLED: Variant(ControlVariate(), source),
        DEFAULT: Variant(Sampled(), source),
    }
    for neighbours, draws in OTHERS:
        estimator = Sampled(neighbours=neighbours, draws=draws)
        found[f"sampled k={neighbours} M={draws}"] = Variant(estimator, source)
    return found


def exact(
    source: PatchSource, scale: Scale, images: torch.Tensor, cache: Path
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Losses `[B]`, gradients `[B, 3, H, W]` and seconds; kept in a file, because it takes minutes."""
    if cache.exists():
        with np.load(cache) as kept:
            return (
                torch.from_numpy(kept["losses"]),
                torch.from_numpy(kept["gradients"]),
                float(kept["seconds"]),
            )

    def blocks() -> Iterator[torch.Tensor]:
        return (unit(block, source.mean) for block in source.blocks())

    begun = time.perf_counter()
    images = images.clone().requires_grad_()
    with full_precision(images.device):
        patches = unit(extract(images, scale.size, scale.stride), source.mean)
        best = streamed_affinity(patches.flatten(0, 1), blocks, bandwidth=BANDWIDTH, epsilon=EPSILON)
        best = best.view(len(images), -1)
        losses = math.log(best.shape[1]) - best.logsumexp(1)
        losses.sum().backward()
    seconds = time.perf_counter() - begun
    assert images.grad is not None
    np.savez(cache, losses=losses.detach().numpy(), gradients=images.grad.numpy(), seconds=seconds)
    return losses.detach(), images.grad, seconds


def _compare(
    variants: dict[str, Variant],
    scale: Scale,
    images: torch.Tensor,
    values: torch.Tensor,
    gradients: torch.Tensor,
) -> dict[str, Measured]:
    measured = {name: Measured() for name in variants}
    for number in range(-1, len(images)):  # the first image once more, to warm up
        for name, variant in variants.items():
            image = images[max(number, 0)].clone().requires_grad_()
            chances = variant.chances or estimators.cell_chances
            with patch.object(estimators, "cell_chances", chances):
                begun = time.perf_counter()
                patches = extract(image[None], scale.size, scale.stride)[0]
                random = np.random.default_rng([0, max(number, 0)])
                loss = variant.estimator.prepare(patches.detach(), variant.source, random)(patches)
                loss.backward()
                seconds = time.perf_counter() - begun
            if number < 0:
                continue
            assert image.grad is not None
            gradient = gradients[number]
            into = measured[name]
            into.cosines.append(float(torch.cosine_similarity(image.grad.ravel(), gradient.ravel(), 0)))
            into.norms.append(float(image.grad.norm() / gradient.norm()))
            into.errors.append(float(loss.detach() - values[number]))
            into.seconds.append(seconds)
    return measured


def _row(scale: Scale, name: str, measured: Measured) -> dict[str, object]:
    return {
        "scale": str(scale),
        "estimator": name,
        "cosine": round(statistics.mean(measured.cosines), 3),
        "least": round(min(measured.cosines), 3),
        "norm": round(statistics.median(measured.norms), 2),
        "loss error": round(statistics.mean(measured.errors), 3),
        "largest": round(max(map(abs, measured.errors)), 3),
        "seconds": round(statistics.median(measured.seconds), 2),
    }


class RawSource(RetrievedScale):
    """Neighbours by the distance of raw pixels, as published, from an index of the same type."""

    def __init__(self, source: RetrievedScale) -> None:
        super().__init__(source.bank, source.scale, source.retriever)
        self._raw = _raw_index(source.bank, source.scale, check_index(source.bank, source.scale).trained)
        faiss.extract_index_ivf(self._raw).nprobe = check_index(source.bank, source.scale).nprobe

    def nearest(self, patches: torch.Tensor, k: int) -> torch.Tensor:
        return torch.from_numpy(self._raw.search(patches.numpy(), k)[1])


def _raw_index(bank: MemoryBank, scale: Scale, trained: Trained) -> faiss.Index:
    cache = bank.path / f"raw-{scale.name}.index"
    if cache.exists():
        return faiss.read_index(str(cache))
    index = IndexSpec(trained.factory, "l2", trained.nprobe, 0).new(scale.dimension)
    total = bank.rows(scale)
    count = min(training_rows(trained.lists), total)
    sample = np.sort(np.random.default_rng(0).choice(total, count, replace=False))
    index.train(bank.vectors(scale, sample))
    for block in bank.blocks(scale):
        index.add(block)
    faiss.write_index(index, str(cache))
    return index
