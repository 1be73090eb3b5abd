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
# Patches that are asked for the cells they expect, times their values and some more: those of an image
# overlap, so that where they are wide half of them can speak for all.
_MOST_VALUES = 1 << 20
_MORE_VALUES = 100


@torch.no_grad()
def cell_chances(
    generated: torch.Tensor,
    nearest: torch.Tensor,
    mean: torch.Tensor,
    directions: torch.Tensor,
    sizes: torch.Tensor,
    *,
    uniform: float,
    bandwidth: float,
    epsilon: float,
) -> torch.Tensor:
    """The chance with which each cell is drawn for an image, so that its denominators are least wrong.

    Of a patch i, cell c (n_c rows of mean direction m_c) has the share e_ic of the denominator, and the loss
    -log(mean_i A_i) hangs on the patch by its own largest affinity A_i, the inverse of that denominator. The
    squared relative errors of the denominators, each counted by its A_i, are sum_i A_i sum_c e_ic^2 / p_c but
    for a factor. They are least for

        p_c ~ sqrt(sum_i A_i e_ic^2)        p_c = (1 - u) of that + u n_c / sum n

    with both estimated from the cells' directions. The rows of a cell lie around its direction, some of them
    much nearer, so the shares are flattened by a root:

        E_ic = exp((a_i·m_c - 1 + d_i*) / ((d_i* + eps) h))
        1 / A_i = 1 + sum_c n_c E_ic            e_ic ~ n_c sqrt(E_ic)

    Args:
        generated: `[N, D]` patches in [-1, 1]; N may be 0, patches that are not finite are left out, and of
            many wide ones each second, third or so on is asked.
        nearest: `[N, D]` the real patch nearest to each, d_i* away.
        mean: `[D]` mean of the bank.
        directions: `[C, D]` mean m_c of the unit rows of each cell.
        sizes: float64 `[C]` rows of each cell, at least one of them above 0.
        uniform: u. bandwidth: h. epsilon: eps of the affinity.

    Returns:
        float64 `[C]` with the sum 1, 0 for empty cells and (u > 0) only for them.
    """
    even = sizes / sizes.sum()
    usable = (whole(generated) & whole(nearest)).nonzero()[:, 0]
    values = len(usable) * (generated.shape[1] + _MORE_VALUES)
    usable = usable[:: max(1, -(-values // _MOST_VALUES))]
    with full_precision(generated.device):
        rows = unit(generated[usable], mean)
        least = (1.0 - (rows * unit(nearest[usable], mean)).sum(1, keepdim=True)).clamp_(min=0.0)
        steepness = 1.0 / ((least + epsilon) * bandwidth)
        count = sizes.to(rows)
        squares = torch.zeros_like(count)
        for at in torch.arange(len(rows), device=rows.device).split(_ROWS_PER_BLOCK):
            offset, scaled = (least[at] - 1.0) * steepness[at], rows[at] * steepness[at]
            # Below, numbers that a CPU is slow with; above, only where h is tiny, infinity.
            near = torch.addmm(offset, scaled, directions.T).clamp_(-60.0, 40.0).exp_()
            affinity = 1.0 / (1.0 + near @ count)
            squares += (affinity / (near.sqrt() @ count).square()) @ near
    wanted = squares.sqrt().to(sizes) * sizes
    total = wanted.sum()
    if not bool(total > 0):
        return even
    return (1.0 - uniform) * wanted / total + uniform * even


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
