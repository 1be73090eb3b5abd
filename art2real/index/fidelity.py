"""How far the loss and the gradient of each estimator are from those of the whole bank."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, median_filter

from art2real.core.affinity import full_precision, streamed_affinity, unit
from art2real.core.contextual import BANDWIDTH, EPSILON
from art2real.core.estimators import Estimator, PatchSource, make_estimator
from art2real.core.patches import extract, to_signed
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank

ESTIMATORS = ("union", "sparse", "sampled")

_MEDIAN = 5  # pixels
_BLUR = 1.0  # pixels
# What the exact comparison of one scale may cost: rows of the bank, times patches, times values of a patch
# and what else is done with a pair of patches, in products of two values.
_WORK = 1e12
_PAIR = 100
# The part of a comparison's time that the exact one takes, about.
_EXACT_PART = 0.7
# Fewer patches of an image than this say little about it.
_LEAST_PATCHES = 16


OnPart = Callable[[float], None]
"""Called with the part of the work that is done, from 0 to 1."""


@dataclass(frozen=True)
class Fidelity:
    """An estimator beside the whole bank, over some images."""

    name: str
    loss: float
    """Mean, in nats."""
    loss_error: float
    """Mean distance to the exact loss, in nats."""
    gradient_cosine: float
    """Mean cosine of the gradient with respect to the image and the exact one; 0 where one of them is 0."""
    seconds: float
    """For an image: search, loss and gradient of all its patches; of `exact` those that were compared."""


@dataclass(frozen=True)
class Comparison:
    """All estimators at one scale, `exact` first."""

    compared: int
    """Patches of each image."""
    patches: int
    """That each image has."""
    gradient_share: float
    """Of the squared gradients of all patches, what those that were compared have; 1 where all were."""
    estimators: tuple[Fidelity, ...]


@dataclass(frozen=True)
class _Answer:
    """Of all images: losses `[B]`, gradients `[B, 3, H, W]`, and seconds."""

    losses: torch.Tensor
    gradients: torch.Tensor
    seconds: float


def generator_like(bank: MemoryBank, count: int = 4, *, seed: int = 0) -> np.ndarray:
    """Images as a generator might make them: uint8 `[B, S, S, 3]`, fewer than `count` of a smaller bank.

    Photos of the bank are mirrored, so that they are not found as themselves, and lose their detail to a
    median filter of 5 pixels and a blur of sigma 1 pixel.
    """
    chosen = np.random.default_rng(seed).permutation(len(bank.photos))[:count]
    images = []
    for number in chosen:
        mirrored = bank.photos[int(number)].pixels[:, ::-1]
        flat = median_filter(mirrored, (_MEDIAN, _MEDIAN, 1))
        images.append(gaussian_filter(flat, (_BLUR, _BLUR, 0)))
    return np.stack(images)


def compare(
    source: PatchSource, scale: Scale, images: np.ndarray, *, seed: int = 0, on_part: OnPart = lambda _: None
) -> Comparison:
    """Compares estimators of default settings with the whole bank.

    The whole bank is read twice. Of a large one only those patches of each image are compared that the loss
    pulls most, as far as `sampled` tells: few patches make most of an image's gradient. Each estimator still
    retrieves for all patches of the image, and its loss over the chosen ones, and that loss's gradient with
    respect to the image, are held against the exact ones.

    Args:
        source: the bank at `scale`.
        images: uint8 `[B, H, W, 3]`, not smaller than a patch.
        on_part: is told of progress.
    """
    signed = to_signed(torch.from_numpy(images)).permute(0, 3, 1, 2)
    chosen, share = _choose(source, scale, signed, seed)
    exact = _exact(source, scale, signed, chosen, lambda part: on_part(part * _EXACT_PART))
    answers = {"exact": exact}
    for number, name in enumerate(ESTIMATORS, 1):
        answers[name] = _estimate(make_estimator(name), source, scale, signed, chosen, seed)
        on_part(_EXACT_PART + (1 - _EXACT_PART) * number / len(ESTIMATORS))
    return Comparison(
        compared=int(chosen[0].sum()),
        patches=len(chosen[0]),
        gradient_share=share,
        estimators=tuple(_fidelity(name, answer, exact) for name, answer in answers.items()),
    )


def _choose(source: PatchSource, scale: Scale, images: torch.Tensor, seed: int) -> tuple[torch.Tensor, float]:
    """Which patches are compared, bool `[B, N]`, as many of each image, and their share of the gradients."""
    patches = extract(images, scale.size, scale.stride)
    most = int(_WORK / (source.rows * (scale.dimension + _PAIR) * len(images)))
    most = min(max(most, _LEAST_PATCHES), patches.shape[1])
    chosen = torch.zeros(patches.shape[:2], dtype=torch.bool)
    if most == patches.shape[1]:
        return ~chosen, 1.0
    squares = torch.stack(
        [_pull(one, source, np.random.default_rng([seed, number])) for number, one in enumerate(patches)]
    )
    chosen.scatter_(1, squares.topk(most, dim=1).indices, value=True)
    return chosen, float((squares * chosen).sum() / squares.sum().clamp_min(1e-30))


def _pull(patches: torch.Tensor, source: PatchSource, random: np.random.Generator) -> torch.Tensor:
    """Squared length of the gradient with respect to each patch, `[N]`, as `sampled` has it."""
    loss = make_estimator("sampled").prepare(patches, source, random)
    patches = patches.clone().requires_grad_()
    loss(patches).backward()
    assert patches.grad is not None
    return patches.grad.square().sum(1)


def _exact(
    source: PatchSource, scale: Scale, images: torch.Tensor, chosen: torch.Tensor, on_part: OnPart
) -> _Answer:
    """As the estimator `exact`, but with the patches of all images in one reading of the bank."""

    read = 0

    def blocks() -> Iterator[torch.Tensor]:
        nonlocal read
        for block in source.blocks():
            yield unit(block, source.mean)
            read += len(block)
            on_part(read / (2 * source.rows))

    began = time.perf_counter()
    images = images.clone().requires_grad_()
    with full_precision(images.device):
        rows = unit(extract(images, scale.size, scale.stride)[chosen], source.mean)
        best = streamed_affinity(rows, blocks, bandwidth=BANDWIDTH, epsilon=EPSILON)
        best = best.view(len(images), -1)
        losses = math.log(best.shape[1]) - best.logsumexp(1)
        losses.sum().backward()
    assert images.grad is not None
    return _Answer(losses.detach(), images.grad, time.perf_counter() - began)


def _estimate(
    estimator: Estimator,
    source: PatchSource,
    scale: Scale,
    images: torch.Tensor,
    chosen: torch.Tensor,
    seed: int,
) -> _Answer:
    losses, gradients, seconds = [], [], 0.0
    for number, (image, some) in enumerate(zip(images, chosen, strict=True)):
        random = np.random.default_rng([seed, number])
        began = time.perf_counter()
        loss = estimator.prepare(extract(image[None], scale.size, scale.stride)[0], source, random)
        value, gradient = _loss_and_gradient(loss, scale, image, None)
        seconds += time.perf_counter() - began
        if not bool(some.all()):
            value, gradient = _loss_and_gradient(loss, scale, image, some)
        losses.append(value)
        gradients.append(gradient)
    return _Answer(torch.stack(losses), torch.stack(gradients), seconds)


def _loss_and_gradient(
    loss: Callable[[torch.Tensor], torch.Tensor], scale: Scale, image: torch.Tensor, some: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss over `some` patches (None: all) of an image `[3, H, W]`, and its gradient, `[3, H, W]`."""
    image = image.clone().requires_grad_()
    patches = extract(image[None], scale.size, scale.stride)[0]
    if some is not None:  # a loss leaves out what is not finite
        patches = torch.where(some[:, None], patches, torch.nan)
    value = loss(patches)
    value.backward()
    assert image.grad is not None
    return value.detach(), image.grad


def _fidelity(name: str, answer: _Answer, exact: _Answer) -> Fidelity:
    cosines = torch.cosine_similarity(answer.gradients.flatten(1), exact.gradients.flatten(1), eps=1e-30)
    return Fidelity(
        name=name,
        loss=float(answer.losses.mean()),
        loss_error=float((answer.losses - exact.losses).abs().mean()),
        gradient_cosine=float(cosines.mean()),
        seconds=answer.seconds / len(answer.losses),
    )
