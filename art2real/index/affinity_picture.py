"""A picture of an image's affinity matrix: exact, and as each estimator has it.

After the figure of Tomei et al., "What was Monet seeing while painting?" (2018), that shows how few entries
of the matrix the nearest neighbours fill.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from art2real.core.affinity import full_precision, streamed_affinity, unit
from art2real.core.contextual import BANDWIDTH, EPSILON
from art2real.core.estimators import Cells, PatchSource, make_estimator
from art2real.core.patches import extract, to_signed
from art2real.core.scale import Scale
from art2real.index.protocol import Retriever

_PATCHES = 16
_NEAREST = 5  # of each patch: columns on the left
_DRAWN = 30  # columns in the middle, from the far field of `sampled`
_OTHERS = 30  # columns on the right, from the whole bank
_LEAST = 1e-8  # where the colours end

_TITLES = {
    "exact": "exact: every patch with every row of the bank",
    "union": "union, as published: the nearest rows of all patches",
    "sparse": "sparse: each patch with its own nearest rows",
    "sampled": "sampled: its own nearest rows, and drawn rows that stand for the rest",
}


@dataclass(frozen=True)
class AffinityPanels:
    """The same few entries of the affinity matrix, as each estimator has them."""

    matrices: dict[str, np.ndarray]
    """By estimator, `exact` first: float64 `[P, C]`, NaN where an estimator has no such entry."""
    ratios: dict[str, float]
    """Median over the patches of the largest affinity divided by the exact one."""
    groups: tuple[int, int, int]
    """Columns: nearest rows of the patches, rows that `sampled` drew, rows of the whole bank."""


def affinity_panels(
    source: PatchSource, exact: Retriever, scale: Scale, image: np.ndarray, *, seed: int = 0
) -> AffinityPanels:
    """Computes entries of the affinity matrix for 16 patches of an image and some 140 rows of the bank.

    The estimators retrieve for all patches of the image; which ones are shown is random. The bank is read
    three times.

    Args:
        source: the bank at `scale`. exact: finds its true nearest rows.
        image: uint8 `[H, W, 3]`, not smaller than a patch.
    """
    random = np.random.default_rng([seed, scale.size, scale.stride, 2])
    signed = to_signed(torch.from_numpy(image)).permute(2, 0, 1)[None]
    patches = extract(signed, scale.size, scale.stride)[0]
    shown = np.sort(random.choice(len(patches), min(_PATCHES, len(patches)), replace=False))
    with full_precision(patches.device):
        rows = unit(patches[shown], source.mean)
        best = {"exact": _exact_best(source, rows)}
    nearest = exact.search(patches[shown].numpy(), _NEAREST)[1]
    own = {"exact": nearest}
    known: dict[str, list[np.ndarray]] = {}
    for name in ("union", "sparse", "sampled"):
        seen = _Recorder(source)
        loss = make_estimator(name).prepare(patches, seen, np.random.default_rng([seed, 0]))
        best[name] = torch.stack([_alone(loss, patches, int(number)) for number in shown])
        own[name] = seen.found[shown]
        known[name] = [seen.columns(name, int(number)) for number in shown]
    columns, groups = _choose_columns(source, nearest, known["sampled"], random)

    matrices = {}
    for name, log_best in best.items():
        matrix = _entries(source, rows, columns, own[name], log_best)
        if name != "exact":
            has = np.stack([np.isin(columns, compared) for compared in known[name]])
            matrix = np.where(has, matrix, np.nan)
        matrices[name] = matrix
    order = _order(matrices["exact"], groups)
    ratios = {name: float((value - best["exact"]).exp().median()) for name, value in best.items()}
    return AffinityPanels({name: each[:, order] for name, each in matrices.items()}, ratios, groups)


def draw_affinity(panels: AffinityPanels, scale: Scale) -> Image.Image:
    """Draws the panels below each other, with one logarithmic scale of colours."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 10.5), dpi=120, layout="constrained", facecolor="white")
    axes = figure.subplots(len(panels.matrices), 1, sharex=True, squeeze=False)[:, 0]
    norm = LogNorm(_LEAST, 1.0, clip=True)
    for axis, (name, matrix) in zip(axes, panels.matrices.items(), strict=True):
        drawn = axis.imshow(matrix, norm=norm, cmap="viridis", aspect="auto", interpolation="nearest")
        axis.set_facecolor("#e8e6e0")
        axis.set_title(_TITLES[name] + _ratio_said(name, panels.ratios[name]), loc="left", fontsize=11)
        axis.set_ylabel("patch of the image")
        axis.set_yticks([])
        axis.tick_params(axis="x", length=0)
        _mark_groups(axis, panels.groups)
    axes[-1].set_xticks(*_group_labels(panels.groups), fontsize=10)
    axes[-1].set_xlabel("row of the bank")
    figure.suptitle(
        f"Affinity of {len(panels.matrices['exact'])} patches of {scale.size}x{scale.size} pixels "
        f"and {sum(panels.groups)} rows of the bank; grey: not retrieved",
        fontsize=13,
    )
    figure.colorbar(drawn, ax=list(axes), label="affinity (each patch's row of the whole matrix sums to 1)")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Image.open(file).convert("RGB")


def _ratio_said(name: str, ratio: float) -> str:
    said = f"{ratio:,.2f}" if ratio < 10 else f"{ratio:,.0f}"
    return "" if name == "exact" else f" (affinities {said} times the exact ones)"


def _mark_groups(axis: Any, groups: tuple[int, ...]) -> None:
    for end in np.cumsum(groups)[:-1]:
        axis.axvline(end - 0.5, color="white", linewidth=3)


def _group_labels(groups: tuple[int, ...]) -> tuple[list[float], list[str]]:
    names = (f"{_NEAREST} nearest of each patch", "drawn by sampled", "others at random")
    ends = np.cumsum(groups)
    centres = ends - np.array(groups) / 2 - 0.5
    present = [number for number, count in enumerate(groups) if count]
    return [float(centres[number]) for number in present], [names[number] for number in present]


def _exact_best(source: PatchSource, rows: torch.Tensor) -> torch.Tensor:
    def blocks() -> Iterator[torch.Tensor]:
        return (unit(block, source.mean) for block in source.blocks())

    return streamed_affinity(rows, blocks, bandwidth=BANDWIDTH, epsilon=EPSILON)


def _alone(loss: Any, patches: torch.Tensor, number: int) -> torch.Tensor:
    """log of the largest affinity of one patch: a loss leaves out all that is not finite."""
    only = torch.full_like(patches, torch.nan)
    only[number] = patches[number]
    return -loss(only)


def _entries(
    source: PatchSource, rows: torch.Tensor, columns: np.ndarray, own: np.ndarray, log_best: torch.Tensor
) -> np.ndarray:
    """A_ij `[P, C]` = A_i* exp(-(d_ij - d_i*) / (h tau_i)): see `art2real.core.affinity`.

    Args:
        rows: unit rows `[P, D]`. columns: `[C]` rows of the bank.
        own: `[P, k]` rows of the bank, the nearest of each patch among them; -1: none.
        log_best: `[P]` log A_i*.
    """

    def distance(numbers: np.ndarray) -> torch.Tensor:
        real = unit(source.fetch(torch.from_numpy(numbers)), source.mean)
        return (1.0 - rows @ real.T).clamp_(min=0.0)

    with full_precision(rows.device):
        near = distance(own.clip(min=0).ravel()).view(len(own), *own.shape)
        least = near.diagonal().T.where(torch.from_numpy(own >= 0), torch.inf).min(1, keepdim=True).values
        gap = (distance(columns) - least).clamp_(min=0.0)
        entries = log_best[:, None] - gap / (BANDWIDTH * (least + EPSILON))
    return entries.double().exp().numpy()


def _choose_columns(
    source: PatchSource, nearest: np.ndarray, sampled: list[np.ndarray], random: np.random.Generator
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Rows of the bank, each once, and how many there are of the three kinds."""
    # In the order of the patches, so that each patch's own nearest rows stand on a diagonal.
    rows, first = np.unique(nearest[nearest >= 0], return_index=True)
    near = rows[np.argsort(first)]
    far = np.setdiff1d(_common(sampled), near)
    drawn = random.choice(far, min(_DRAWN, len(far)), replace=False)
    others = random.choice(source.rows, min(_OTHERS, source.rows), replace=False)
    others = np.setdiff1d(others, np.concatenate([near, drawn]))
    return np.concatenate([near, drawn, others]), (len(near), len(drawn), len(others))


def _common(rows: list[np.ndarray]) -> np.ndarray:
    common = rows[0]
    for others in rows[1:]:
        common = np.intersect1d(common, others)
    return common


def _order(matrix: np.ndarray, groups: tuple[int, int, int]) -> np.ndarray:
    """Keeps the groups; those of far rows begin with the largest affinities."""
    near, drawn, others = np.split(np.arange(matrix.shape[1]), np.cumsum(groups)[:-1])
    strength = -np.log(np.maximum(matrix, np.finfo(float).tiny)).mean(axis=0)
    return np.concatenate([near, drawn[np.argsort(strength[drawn])], others[np.argsort(strength[others])]])


class _Recorder:
    """A source that notes which rows an estimator takes from it: implements `PatchSource`."""

    def __init__(self, source: PatchSource) -> None:
        self._source = source
        self.found = np.empty((0, 0), np.int64)
        self._fetched = np.empty(0, np.int64)
        self._drawn = np.empty(0, np.int64)

    def columns(self, name: str, number: int) -> np.ndarray:
        """The rows of the bank that the estimator `name`, which asked here, compares a patch with."""
        own = self.found[number]
        if name == "sparse":
            return own
        if name == "union":
            return self._fetched
        # A bank of no more rows than draws is taken whole.
        return np.union1d(own, self._drawn if len(self._drawn) else self._fetched)

    @property
    def rows(self) -> int:
        return self._source.rows

    @property
    def mean(self) -> torch.Tensor:
        return self._source.mean

    @property
    def missing(self) -> int:
        return self._source.missing

    def nearest(self, patches: torch.Tensor, k: int) -> torch.Tensor:
        found = self._source.nearest(patches, k)
        self.found = found.numpy()
        return found

    def fetch(self, rows: torch.Tensor) -> torch.Tensor:
        self._fetched = np.union1d(self._fetched, rows.numpy())
        return self._source.fetch(rows)

    def cells(self) -> Cells:
        return self._source.cells()

    def draw(self, cells: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
        drawn = self._source.draw(cells, random)
        self._drawn = np.union1d(self._drawn, drawn.numpy())
        return drawn

    def blocks(self) -> Iterator[torch.Tensor]:
        return self._source.blocks()
