"""Importance sampling of a bank's far rows by the cells of its index.

A row far from a generated patch matters by its share of the patch's softmax, which the mean direction of the
row's cell foretells (Bengio, Senécal, "Quick training of probabilistic neural nets by importance sampling",
2003, has the idea for the softmax of a language model).
"""

from __future__ import annotations

import numpy as np
import torch

from art2real.core.affinity import full_precision, unit, whole

# Patches whose shares over all cells are worked on at a time: a million values with 4096 cells.
_ROWS_PER_BLOCK = 256


@torch.no_grad()
def cell_chances(
    generated: torch.Tensor,
    nearest: torch.Tensor,
    mean: torch.Tensor,
    directions: torch.Tensor,
    sizes: torch.Tensor,
    *,
    sharpness: float,
    uniform: float,
    epsilon: float,
) -> torch.Tensor:
    """The chance with which each cell is drawn for an image: p_c = (1 - u) mean_i e_ic + u n_c / sum n, with
    e_ic = softmax_c(log n_c + s (a_i·m_c - 1) / (d_i* + eps)), the share that patch i expects of cell c.

    Args:
        generated: `[N, D]` patches in [-1, 1]; N may be 0, patches that are not finite are left out.
        nearest: `[N, D]` the real patch nearest to each.
        mean: `[D]` mean of the bank.
        directions: `[C, D]` mean m_c of the unit rows of each cell.
        sizes: float64 `[C]` rows of each cell, at least one of them above 0.
        sharpness: s, tempering over bandwidth. uniform: u. epsilon: eps of the affinity.

    Returns:
        float64 `[C]` with the sum 1, 0 for empty cells and (u > 0) only for them.
    """
    even = sizes / sizes.sum()
    usable = whole(generated) & whole(nearest)
    if not bool(usable.any()):
        return even
    expected = torch.zeros_like(even)
    with full_precision(generated.device):
        rows = unit(generated[usable], mean)
        least = (1.0 - (rows * unit(nearest[usable], mean)).sum(1, keepdim=True)).clamp_(min=0.0)
        slope = sharpness / (least + epsilon)
        log_sizes = sizes.log().to(rows)  # -inf for an empty cell
        for block, steepness in zip(rows.split(_ROWS_PER_BLOCK), slope.split(_ROWS_PER_BLOCK), strict=True):
            logits = (block @ directions.T).sub_(1.0).mul_(steepness).add_(log_sizes)
            expected += logits.softmax(1).sum(0)
    return (1.0 - uniform) * expected / len(rows) + uniform * even


def choose(chance: torch.Tensor, count: int, random: np.random.Generator) -> torch.Tensor:
    """Draws places by their chances, as many of each as `count * chance` on average.

    One place comes from each `count`-th of the cumulated chances (stratified sampling): the same expectation
    as independent draws, with less spread.

    Args:
        chance: float64 `[C]`, not negative, with a sum above 0.

    Returns:
        int64 `[count]` places, ascending, none of chance 0.
    """
    cumulated = chance.cumsum(0)
    points = torch.from_numpy((np.arange(count) + random.random(count)) / count).to(cumulated) * cumulated[-1]
    # A chance of 0 adds nothing to the sum, so its place is never the first one beyond a point.
    place = torch.searchsorted(cumulated, points, right=True)
    return place.clamp_max(int(chance.nonzero()[-1]))
