"""Four estimates of the affinity matrix: which rows of a bank each generated patch is compared with.

The contextual loss normalises a patch's affinities over the whole bank (Mechrez et al., "The Contextual
Loss", ECCV 2018, equation 3), which may have billions of rows. An estimator retrieves some of them, without
gradient, and returns the loss over those as a function of the generated patches:

    exact     every row, streamed                      what the method means; small banks, tests, audits
    union     all rows retrieved for any patch         Tomei et al., "What was Monet seeing while painting?",
                                                       2018, as published
    sparse    each patch's own neighbours              the form in that paper's figure
    sampled   own neighbours and weighted draws        the default: it expects the whole bank's denominator

`sampled` treats the bank as multipole methods treat space (Greengard, Rokhlin, "A fast algorithm for particle
simulations", 1987): neighbours one by one, the rest through the cells of an index. The rest is an importance
sample (Bengio, Senécal, "Quick training of probabilistic neural nets by importance sampling", 2003).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch

from art2real.core.affinity import full_precision, unit
from art2real.core.contextual import (
    BANDWIDTH,
    EPSILON,
    Reduction,
    at_least_float32,
    contextual_loss,
    near_far_loss,
    streamed_loss,
)
from art2real.core.sampling import cell_chances, choose
from art2real.errors import UsageError

Loss = Callable[[torch.Tensor], torch.Tensor]

# Neighbours among which the nearest is looked for: only the chances of the draws hang on it.
_FEW = 4


@dataclass(frozen=True)
class Cells:
    """The cells of an inverted-file index: disjoint, and together the whole bank."""

    directions: torch.Tensor
    """float32 `[C, D]`: where the cell's unit rows point on average, of length 1; 0 where that is unknown."""
    sizes: torch.Tensor
    """int64 `[C]`: rows in the cell, 0 allowed."""


class PatchSource(Protocol):
    """One scale of a memory bank, as an estimator sees it. Rows are numbered from 0."""

    @property
    def rows(self) -> int:
        """Patches in the bank at this scale."""

    @property
    def mean(self) -> torch.Tensor:
        """`[D]` mean of the bank's patches, in [-1, 1]."""

    @property
    def missing(self) -> int:
        """Patches whose `nearest` could so far not be looked for in all of the bank."""

    def nearest(self, patches: torch.Tensor, k: int) -> torch.Tensor:
        """`[N, D]` in [-1, 1] -> int64 `[N, k]`: the rows with the least distance in the loss's metric, each
        at most once a patch, nearer ones roughly first, -1, last, where there is none."""

    def fetch(self, rows: torch.Tensor) -> torch.Tensor:
        """int64 `[R]` row numbers, none negative -> float32 `[R, D]` in [-1, 1]."""

    def cells(self) -> Cells:
        """The cells that `draw` draws from."""

    def draw(self, cells: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
        """int64 `[M]` numbers of cells that are not empty -> int64 `[M]`: for each a row of that cell, all
        equally likely, with replacement; -1 where the row is not to be had, and is to be done without."""

    def blocks(self) -> Iterator[torch.Tensor]:
        """The whole bank in order, float32 `[M_b, D]` in [-1, 1]; the same each time it is called."""


class Estimator(Protocol):
    """Chooses the columns of the affinity matrix."""

    def prepare(self, generated: torch.Tensor, source: PatchSource, random: np.random.Generator) -> Loss:
        """Retrieves all that is needed for one image at one scale.

        Args:
            generated: `[N, D]` patches of one image in [-1, 1]; used without gradient. Patches that are not
                finite are left out.
            source: the bank at this scale.
            random: the only source of chance.

        Returns:
            The loss: `[N, D]` patches (the same, with gradient) -> scalar. NaN with a gradient of zero where
            no patch is finite or none has a neighbour.

        Raises:
            ValueError: the bank has no row, or there is no generated patch.
        """


@dataclass(frozen=True, kw_only=True)
class _Settings:
    bandwidth: float = BANDWIDTH
    epsilon: float = EPSILON
    reduction: Reduction = "log_of_mean"

    def __post_init__(self) -> None:
        if not (self.bandwidth > 0 and self.epsilon > 0):
            raise ValueError(
                f"bandwidth and epsilon must be positive, got {self.bandwidth} and {self.epsilon}"
            )


@dataclass(frozen=True)
class _Neighbours(_Settings):
    neighbours: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, got {self.neighbours}")


@dataclass(frozen=True)
class Exact(_Settings):
    """The whole bank for every patch, read twice for each loss."""

    def prepare(self, generated: torch.Tensor, source: PatchSource, random: np.random.Generator) -> Loss:
        _checked(generated, source)
        return partial(
            streamed_loss,
            blocks=source.blocks,
            mean=source.mean,
            bandwidth=self.bandwidth,
            epsilon=self.epsilon,
            reduction=self.reduction,
        )


@dataclass(frozen=True)
class Union(_Neighbours):
    """Every row that is among the k nearest of any patch of the image, once, for all patches."""

    def prepare(self, generated: torch.Tensor, source: PatchSource, random: np.random.Generator) -> Loss:
        generated = _checked(generated, source)
        rows, _ = _retrieve(generated, source, self.neighbours)
        if len(rows) == 0:
            return _nothing
        return partial(
            contextual_loss,
            real=source.fetch(rows),
            mean=source.mean,
            bandwidth=self.bandwidth,
            epsilon=self.epsilon,
            reduction=self.reduction,
        )


@dataclass(frozen=True)
class Sparse(_Neighbours):
    """Each patch's own k nearest rows. With k = 1 the loss is 0: a lone column is always the best."""

    def prepare(self, generated: torch.Tensor, source: PatchSource, random: np.random.Generator) -> Loss:
        generated = _checked(generated, source)
        rows, near = _retrieve(generated, source, self.neighbours)
        if len(rows) == 0:
            return _nothing
        return partial(
            near_far_loss,
            real=source.fetch(rows),
            mean=source.mean,
            near=near,
            far=None,
            far_weight=None,
            bandwidth=self.bandwidth,
            epsilon=self.epsilon,
            reduction=self.reduction,
        )


@dataclass(frozen=True)
class Sampled(_Neighbours):
    """Near field: each patch's own k nearest rows. Far field: rows drawn for the whole image, by cell.

    Cells are drawn with the chances p_c of `art2real.core.sampling.cell_chances`, at which the image's loss
    spreads least; rows uniformly inside a cell. A draw from a cell of n_c rows stands for n_c / (M p_c)
    rows: for each patch the expectation of the far sum is the sum over all rows that are not its neighbours.
    A bank of no more rows than draws is taken whole, without chance.
    """

    neighbours: int = 32
    draws: int = 4096
    """M; 0: no far field."""
    uniform: float = 0.1
    """u > 0 bounds the weight of a row from a cell that was thought far."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.draws < 0 or not 0 < self.uniform <= 1:
            raise ValueError(
                f"draws must be at least 0, uniform in (0, 1], got {self.draws} and {self.uniform}"
            )

    def prepare(self, generated: torch.Tensor, source: PatchSource, random: np.random.Generator) -> Loss:
        generated = _checked(generated, source)
        rows, near = _retrieve(generated, source, self.neighbours)
        if len(rows) == 0:
            return _nothing
        columns = source.fetch(rows).to(generated)
        far_rows, far_weight = self._far_field(generated, columns, near, source, random)
        far, extra = _places(far_rows, rows)
        if len(extra):
            columns = torch.cat([columns, source.fetch(extra).to(generated)])
        return partial(
            near_far_loss,
            real=columns,
            mean=source.mean,
            near=near,
            far=far,
            far_weight=far_weight,
            bandwidth=self.bandwidth,
            epsilon=self.epsilon,
            reduction=self.reduction,
        )

    def _far_field(
        self,
        generated: torch.Tensor,
        columns: torch.Tensor,
        near: torch.Tensor,
        source: PatchSource,
        random: np.random.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Unique rows int64 `[F]`, sorted, and how many rows of the bank each stands for, `[F]`."""
        device = generated.device
        if source.rows <= self.draws:
            return torch.arange(source.rows, device=device), torch.ones(source.rows, device=device)
        if self.draws == 0:
            return near.new_empty(0), torch.empty(0, device=device)
        cells = source.cells()
        sizes = cells.sizes.to(device, torch.float64)
        some = near[:, 0] >= 0
        nearest = _nearest(generated[some], columns, near[some], source.mean.to(generated))
        chance = cell_chances(
            generated[some],
            nearest,
            source.mean.to(generated),
            cells.directions.to(generated),
            sizes,
            uniform=self.uniform,
            bandwidth=self.bandwidth,
            epsilon=self.epsilon,
        )
        drawn = choose(chance, self.draws, random)
        weight = sizes[drawn] / (self.draws * chance[drawn])
        rows = source.draw(drawn, random).to(device)
        far, place = rows[rows >= 0].unique(return_inverse=True)
        return far, weight.new_zeros(len(far)).index_add_(0, place, weight[rows >= 0])


def make_estimator(
    name: str,
    *,
    neighbours: int | None = None,
    draws: int = Sampled.draws,
    bandwidth: float = BANDWIDTH,
    epsilon: float = EPSILON,
    reduction: Reduction = "log_of_mean",
) -> Estimator:
    """The estimator `name`; `neighbours` None: its own default. `exact` takes no neighbours, only `sampled`
    takes draws.

    Raises:
        UsageError: no estimator has that name.
        ValueError: a setting is out of its range.
    """
    common: dict[str, Any] = {"bandwidth": bandwidth, "epsilon": epsilon, "reduction": reduction}
    near: dict[str, Any] = {} if neighbours is None else {"neighbours": neighbours}
    if name == "exact":
        return Exact(**common)
    if name == "union":
        return Union(**near, **common)
    if name == "sparse":
        return Sparse(**near, **common)
    if name == "sampled":
        return Sampled(**near, draws=draws, **common)
    raise UsageError(f"there is no estimator {name!r}: choose exact, union, sparse or sampled")


def _checked(generated: torch.Tensor, source: PatchSource) -> torch.Tensor:
    """The patches as what they are retrieved by: without gradient, float32."""
    if len(generated) == 0:
        raise ValueError("the contextual loss needs at least one generated patch")
    if source.rows == 0:
        raise ValueError("the bank has no patch at this scale")
    return at_least_float32(generated.detach())


def _retrieve(generated: torch.Tensor, source: PatchSource, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k nearest rows of all patches, unique and sorted `[R]`, and the places of each patch's among them
    `[N, k]`, -1 where missing."""
    rows = source.nearest(generated, k).to(generated.device)
    found, places = rows.clamp_min(-1).unique(return_inverse=True)
    missing = int((found[:1] < 0).sum())
    return found[missing:], places - missing


def _places(rows: torch.Tensor, known: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each of `rows` `[F]` stands in `known` followed by the rows that `known` lacks, and those rows.
    Both inputs are sorted and unique, and `known` is not empty."""
    place = torch.searchsorted(known, rows).clamp_max(len(known) - 1)
    new = known[place] != rows
    place[new] = len(known) + torch.arange(int(new.sum()), device=rows.device)
    return place, rows[new]


def _nearest(
    patches: torch.Tensor, columns: torch.Tensor, near: torch.Tensor, mean: torch.Tensor
) -> torch.Tensor:
    """The nearest column `[N, D]` of each patch, among its first few: an index orders them roughly."""
    few = columns[near[:, :_FEW].clamp_min(0)]
    with full_precision(patches.device):
        similarity = torch.einsum("nkd,nd->nk", unit(few, mean), unit(patches, mean))
    similarity = similarity.masked_fill(near[:, :_FEW] < 0, -torch.inf)
    return few[torch.arange(len(few), device=few.device), similarity.argmax(1)]


def _nothing(generated: torch.Tensor) -> torch.Tensor:
    """Of patches without a single neighbour there is nothing to say: NaN, with a gradient of zero."""
    return torch.where(torch.zeros_like(generated, dtype=torch.bool), generated, 0.0).sum() + torch.nan


# Weights at which each estimator's gradient has the norm of `union`'s at the published weight, 0.1. Measured:
# the norm with respect to a painting of 256 px, summed over the three scales, over that of `union` for the
# same painting; retrieval in the loss's metric, defaults elsewhere; geometric means over 4 or 6 paintings of
# monet2photo:
#     photos in the bank     150     2,000
#     sparse                 0.12    0.17
#     sampled                2.06    5.3      (single paintings 3.4 to 7.0)
#     exact                  1.90 at 8:5, where sampled had 1.92; not run at 2,000 photos
# `union` falls behind the whole bank as that grows. The weights are those of the larger bank, which is nearer
# to the 6,287 photos that 0.1 was published for; for a bank of some hundred photos, 0.05 matches.
DEFAULT_WEIGHT: dict[str, float] = {"exact": 0.019, "union": 0.1, "sparse": 0.59, "sampled": 0.019}
