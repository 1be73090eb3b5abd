"""The affinity of generated patches to real ones, and its gradient, in closed form.

For row i (a generated patch) and column j (a real patch), both centred and of unit length
(Mechrez, Talmi, Zelnik-Manor, "The Contextual Loss", ECCV 2018, equations 2-4):

    d_ij = 1 - a_i·b_j        tau_i = min_j d_ij + eps        A_ij = softmax_j((1 - d_ij / tau_i) / h)

With * the nearest column of the row, everything is written relative to it, which avoids every cancellation
and overflow:

    gap_ij = d_ij - d_i*      E_ij = c_j exp(-gap_ij / (h tau_i))      log A_i* = -log(1 + sum_{j != *} E_ij)

where c_j counts how many rows of the bank a column stands for. The gradient (W = E / Z) is

    h tau_i d(log A_i*)/d(a_i) = (sum_{j != *} W_ij (1 + gap_ij / tau_i)) b_* - sum_{j != *} W_ij b_j

Values and gradients are computed together, a block of rows at a time, so that the N x M matrix is never
held and never read twice. Real patches are constants of the bank: no gradient goes to them.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

# |v|^2 + SOFTNESS under the root keeps the gradient of the normalisation below 1 / sqrt(SOFTNESS) where a
# patch equals the mean (without it nothing does) and changes nothing elsewhere: patches have |v|^2 of 0.1 and
# more, and one within half a grey level of the mean still has 1e-4. Ten times as much moves the loss of real
# images by 1e-4; a tenth comes near to the rounding of float32.
SOFTNESS = 1e-7

# Entries of the affinity matrix worked on at a time: on a CPU the temporaries stay in its cache; a GPU wants
# few launches.
_ENTRIES_PER_BLOCK = {"cpu": 1 << 20, "cuda": 1 << 24}

# Beside the nearest column, whose share is 1, ten million with e^-60 add 1e-19.
_LEAST_EXPONENT = -60.0


def unit(patches: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Centres by the bank's mean and normalises: `[..., D]` -> `[..., D]` of length 1 (0 for the mean)."""
    centred = patches - mean
    scale = torch.rsqrt(torch.linalg.vector_norm(centred, dim=-1, keepdim=True).square() + SOFTNESS)
    # Where no gradient is wanted, as for the columns, in place: fresh memory costs more than the product.
    return centred * scale if centred.requires_grad else centred.mul_(scale)


def whole(patches: torch.Tensor) -> torch.Tensor:
    """Which patches hold neither NaN nor infinity: `[N, D]` -> bool `[N]`."""
    return patches.detach().sum(-1).isfinite()  # one pass, without a mask of the patches' size


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """True float32: no autocast, no TF32. In bfloat16 the gradient of the affinity is noise."""
    _ieee.begin()
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        _ieee.end()


class _Ieee:
    """Switches TF32 off while any thread wants that: the setting is one of the whole process."""

    def __init__(self) -> None:
        # A backend at a time: the getter over all of them raises where the caller has set them apart.
        known: Any = torch.backends
        self._backends = (known.cuda.matmul, known.mkldnn.matmul)
        self._settings: list[str] = []
        self._users = 0
        self._lock = threading.Lock()

    def begin(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._settings = [backend.fp32_precision for backend in self._backends]
                for backend in self._backends:
                    backend.fp32_precision = "ieee"

    def end(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                for backend, setting in zip(self._backends, self._settings, strict=True):
                    backend.fp32_precision = setting


_ieee = _Ieee()


def near_far_affinity(
    rows: torch.Tensor,
    columns: torch.Tensor,
    near: torch.Tensor | None,
    far: torch.Tensor | None,
    far_weight: torch.Tensor | None,
    *,
    bandwidth: float,
    epsilon: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest affinity of each row, over near columns of its own and weighted far columns of all rows.

    A far column that a row has as a near one counts once, as near. A far column nearer than the row's nearest
    near one (the search missed it) counts as that one: affinities are relative to it. Those that are only
    nearer than the farthest near one stay as they are: the draws make up for what the search misses.

    Args:
        rows: `[N, D]` unit rows, finite; the gradient goes here.
        columns: `[M, D]` unit columns; a column that is not finite is left out.
        near: `[N, k]` positions in `columns`, -1 where missing; None: no near field.
        far: `[F]` positions in `columns`, each at most once; None: no far field with `near`, all columns
            without it.
        far_weight: `[F]` how many rows of the bank each far column stands for; None: 1 each.
        bandwidth: h. epsilon: eps of tau.

    Returns:
        log max_j A_ij `[N]` in (-inf, 0], and whether the row has any column, bool `[N]`: where it has none,
        the value is 0, without gradient, and means nothing.
    """
    finite = whole(columns)
    columns = columns.detach()
    if not bool(finite.all()):
        columns = torch.where(finite[:, None], columns, 0.0)
    if far is None:
        far = torch.arange(0 if near is not None else len(columns), device=rows.device)
    weight = rows.new_ones(len(far)) if far_weight is None else far_weight.to(rows)
    far, weight = far[finite[far]], weight[finite[far]]
    if near is None:
        near = far.new_empty((len(rows), 0))
    near = torch.where((near >= 0) & finite[near.clamp_min(0)], near, -1)
    far_columns = columns[far]
    weighted = far_columns * weight[:, None]
    nowhere = torch.full((len(columns),), -1, device=rows.device)
    field = _FarField(far_columns, weighted, weight, nowhere)
    field.place[far] = torch.arange(len(far), device=rows.device)

    entries_per_row = len(far) + near.shape[1] + 1
    block = max(16, _entries_per_block(rows.device) // entries_per_row)
    with torch.no_grad():
        parts = [
            _block(rows[at : at + block], columns, near[at : at + block], field, bandwidth, epsilon)
            for at in range(0, len(rows), block)
        ]
        value, gradient, defined = (torch.cat(column) for column in zip(*parts, strict=True))
    return _attach(rows, value, gradient), defined


def _entries_per_block(device: torch.device) -> int:
    return _ENTRIES_PER_BLOCK.get(device.type, _ENTRIES_PER_BLOCK["cuda"])


@dataclass(frozen=True)
class _FarField:
    columns: torch.Tensor  # [F, D]
    weighted: torch.Tensor  # [F, D]: each column as many times as rows that it stands for
    weight: torch.Tensor  # [F]
    place: torch.Tensor  # [M]: where a column stands in the far field, -1 where it does not


def _block(
    rows: torch.Tensor,
    columns: torch.Tensor,
    near: torch.Tensor,
    far: _FarField,
    bandwidth: float,
    epsilon: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """log max A `[n]`, its gradient `[n, D]`, and whether the row has a column `[n]`."""
    infinite = torch.finfo(rows.dtype).max
    everyone = torch.arange(len(rows), device=rows.device)
    valid = near >= 0
    places = near.clamp_min(0)
    near_distance = _near_distances(rows, columns, places).masked_fill_(~valid, infinite)
    least = rows.new_full((len(rows),), infinite)
    best = torch.zeros_like(rows)
    if near.shape[1]:
        least, nearest = near_distance.min(1)
        best = columns[places[everyone, nearest]]
    alone = (~valid.any(1)).nonzero()[:, 0]
    if len(alone) and len(far.columns):
        product, far_nearest = (rows[alone] @ far.columns.T).max(1)
        least[alone] = (1.0 - product).clamp_(min=0.0)
        best[alone] = far.columns[far_nearest]
    defined = least < infinite
    least = torch.where(defined, least, 0.0)
    tau = least + epsilon
    slope = (-1.0 / (bandwidth * tau))[:, None]

    gap = torch.addmm((1.0 - least)[:, None], rows, far.columns.T, alpha=-1.0)
    nearer = (gap < 0.0).nonzero(as_tuple=True)
    gap[nearer] = 0.0
    share = _shares(gap, slope)
    if len(alone) and len(far.columns):
        # The best column is the 1 of 1 + sum, so it is taken out of the sum.
        share[alone, far_nearest] = 0.0
    place = far.place[places]
    again, which = torch.nonzero(valid & (place >= 0), as_tuple=True)
    share[again, place[again, which]] = 0.0
    rest = share @ far.weight
    pull = gap.mul_(share) @ far.weight

    drawn = torch.zeros_like(rows)
    if near.shape[1]:
        near_gap = torch.where(valid, near_distance - least[:, None], 0.0)
        near_share = torch.where(valid, _shares(near_gap, slope), 0.0)
        near_share[everyone, nearest] = 0.0
        rest += near_share.sum(1)
        pull += (near_share * near_gap).sum(1)
        # What is nearer than the nearest counts as that one. (Of a row without neighbours it is rounding.)
        row, column = nearer
        known = valid[row, nearest[row]]
        row, column = row[known], column[known]
        near_share.index_put_((row, nearest[row]), share[row, column] * far.weight[column], accumulate=True)
        share[row, column] = 0.0
        drawn = F.embedding_bag(places, columns, mode="sum", per_sample_weights=near_share)
    drawn += share @ far.weighted
    return *_value_and_gradient(rest, pull, best, drawn, tau, bandwidth), defined


def _near_distances(rows: torch.Tensor, columns: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """1 - a_i·b_j of each row `[n, D]` with its own columns `[n, k]`, few rows at a time for the cache."""
    values = max(1, places.shape[1] * rows.shape[1])
    step = max(1, _entries_per_block(rows.device) // 4 // values)
    near = zip(rows.split(step), places.split(step), strict=True)
    parts = [torch.einsum("nkd,nd->nk", columns[place], row) for row, place in near]
    return torch.cat(parts).neg_().add_(1.0).clamp_(min=0.0)


def _shares(gap: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """exp(gap * slope), at most 1. Smaller than all that matters it stays above the numbers that a CPU
    multiplies a hundred times slower (denormal ones)."""
    return (gap * slope).clamp_(_LEAST_EXPONENT, 0.0).exp_()


def _value_and_gradient(
    rest: torch.Tensor,
    pull: torch.Tensor,
    best: torch.Tensor,
    drawn: torch.Tensor,
    tau: torch.Tensor,
    bandwidth: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """From sum E `[n]`, sum E gap `[n]`, b_* and sum E b `[n, D]`: log A_* and its gradient (see above)."""
    towards = (rest + pull / tau)[:, None] * best - drawn
    return -torch.log1p(rest), towards / (bandwidth * tau * (1.0 + rest))[:, None]


def _attach(rows: torch.Tensor, value: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Gives `value` the gradient that was computed with it: the added term is 0, its derivative is not."""
    return value + ((rows - rows.detach()) * gradient).sum(-1)


def streamed_affinity(
    rows: torch.Tensor,
    blocks: Callable[[], Iterable[torch.Tensor]],
    *,
    bandwidth: float,
    epsilon: float,
) -> torch.Tensor:
    """log max_j A_ij `[N]` over columns that need not fit into memory.

    Args:
        rows: `[N, D]` unit rows, finite; the gradient goes here.
        blocks: called twice; yields the same unit columns `[M_b, D]` in the same order each time.
        bandwidth: h. epsilon: eps of tau.

    Raises:
        ValueError: the blocks hold no finite column.
    """
    fixed = rows.detach()
    with torch.no_grad():
        least, best, where = _stream_nearest(fixed, blocks)
        tau = least + epsilon
        slope = -1.0 / (bandwidth * tau)
        rest = torch.zeros_like(least)
        pull = torch.zeros_like(least)
        drawn = torch.zeros_like(fixed)
        for at, columns, first in _tiles(fixed, blocks):
            gap = torch.addmm((1.0 - least[at])[:, None], fixed[at], columns.T, alpha=-1.0)
            share = _shares(gap, slope[at, None])
            own = where[at] - first
            inside = ((own >= 0) & (own < len(columns))).nonzero()[:, 0]
            share[inside, own[inside]] = 0.0
            rest[at] += share.sum(1)
            pull[at] += torch.einsum("nm,nm->n", share, gap)
            drawn[at].addmm_(share, columns)
        value, gradient = _value_and_gradient(rest, pull, best, drawn, tau, bandwidth)
    return _attach(rows, value, gradient)


def _stream_nearest(
    rows: torch.Tensor, blocks: Callable[[], Iterable[torch.Tensor]]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Distance `[N]`, column `[N, D]` and place in the stream `[N]` of each row's nearest column."""
    most = rows.new_full((len(rows),), -torch.inf)
    best = torch.zeros_like(rows)
    where = torch.full((len(rows),), -1, device=rows.device)
    for at, columns, first in _tiles(rows, blocks):
        product, place = (rows[at] @ columns.T).max(1)
        nearer = (product > most[at]).nonzero()[:, 0]
        here = nearer + at.start
        most[here] = product[nearer]
        best[here] = columns[place[nearer]]
        where[here] = place[nearer] + first
    if bool((where < 0).any()):
        raise ValueError("the affinity needs at least one real patch")
    return (1.0 - most).clamp_(min=0.0), best, where


def _tiles(
    rows: torch.Tensor, blocks: Callable[[], Iterable[torch.Tensor]]
) -> Iterator[tuple[slice, torch.Tensor, int]]:
    """The matrix of rows and columns in pieces that stay in a cache: which rows, the finite ones of some
    columns, and how many columns came before these."""
    entries = _entries_per_block(rows.device)
    height = min(len(rows), max(16, math.isqrt(entries)))
    for columns, first in _finite_blocks(blocks, max(64, entries // max(height, 1))):
        for start in range(0, len(rows), height):
            yield slice(start, start + height), columns, first


def _finite_blocks(
    blocks: Callable[[], Iterable[torch.Tensor]], width: int
) -> Iterator[tuple[torch.Tensor, int]]:
    """The columns without broken ones, at most `width` at a time, and how many came before each piece."""
    first = 0
    for block in blocks():
        for piece in block.split(width):
            columns = piece[whole(piece)]
            if len(columns):
                yield columns, first
            first += len(columns)
