"""Estimators that were tried beside `sampled` and lost, for the table of `retrieval_fidelity.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from art2real.core.affinity import full_precision, near_far_affinity, unit
from art2real.core.estimators import Cells, Loss, PatchSource, Sampled


def mean_share(*patches_and_cells: torch.Tensor, **settings: float) -> torch.Tensor:
    """Chances by the mean share that the patches expect of a cell, each patch as important as another."""
    return _mixed(lambda affinity, share: share.sum(0), *patches_and_cells, **settings)


def heaviest_alone(*patches_and_cells: torch.Tensor, **settings: float) -> torch.Tensor:
    """Chances at which the loss itself spreads least, to first order: errors counted by A_i squared."""
    return _mixed(
        lambda affinity, share: (affinity * share).square().sum(0).sqrt(), *patches_and_cells, **settings
    )


def _mixed(
    wanted: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
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
    """`wanted` of the affinities `[N, 1]` and the expected shares `[N, C]`, mixed with a uniform chance."""
    units = unit(generated, mean)
    least = (1.0 - (units * unit(nearest, mean)).sum(1, keepdim=True)).clamp_(min=0.0)
    near = (units @ directions.T - 1.0 + least).div_((least + epsilon) * bandwidth).clamp_(-60.0, 40.0).exp_()
    count = sizes.to(near)
    share = near.sqrt() * count
    chance = wanted(1.0 / (1.0 + near @ count)[:, None], share / share.sum(1, keepdim=True)).to(sizes)
    return (1.0 - uniform) * chance / chance.sum() + uniform * sizes / sizes.sum()


class ControlVariate(Sampled):
    """`Sampled`, its denominators corrected by what the draws say of a sum that is known.

    Were all rows of a cell in its mean direction, each patch's sum over all rows would be known exactly. The
    draws estimate that sum too; how far they are off tells, by the correlation over the draws, how far they
    are off of the true one.
    """

    def prepare(self, generated: torch.Tensor, source: PatchSource, random: np.random.Generator) -> Loss:
        seen = _Recorder(source)
        given = super().prepare(generated, seen, random).keywords  # type: ignore[attr-defined]
        cells, mean = source.cells(), source.mean
        columns = unit(given["real"], mean)
        near, far, weight = given["near"], given["far"], given["far_weight"]
        cell_of = dict(zip(seen.drawn.tolist(), seen.cells_drawn.tolist(), strict=True))
        cell = torch.tensor([cell_of[row] for row in sorted(cell_of)])

        def loss(patches: torch.Tensor) -> torch.Tensor:
            with full_precision(patches.device):
                rows = unit(patches, mean)
                log_best, _ = near_far_affinity(
                    rows, columns, near, far, weight, bandwidth=self.bandwidth, epsilon=self.epsilon
                )
                with torch.no_grad():
                    ratio = torch.cat(
                        [
                            self._correction(
                                rows[at], columns, near[at], far, weight, cell, cells, log_best[at]
                            )
                            for at in torch.arange(len(rows)).split(256)
                        ]
                    )
                corrected = log_best.detach() + ratio.log() + (log_best - log_best.detach()) * ratio
                return -corrected.logsumexp(0) + np.log(len(rows))

        return loss

    def _correction(
        self,
        rows: torch.Tensor,
        columns: torch.Tensor,
        near: torch.Tensor,
        far: torch.Tensor,
        weight: torch.Tensor,
        cell: torch.Tensor,
        cells: Cells,
        log_best: torch.Tensor,
    ) -> torch.Tensor:
        """Sampled over corrected denominator of each row, `[n]`."""
        least = (1.0 - torch.einsum("nkd,nd->nk", columns[near], rows)).amin(1, keepdim=True)
        slope = -1.0 / (self.bandwidth * (least + self.epsilon))
        drawn = (((1.0 - rows @ columns[far].T) - least).clamp_(min=0.0) * slope).exp_() * weight
        guess = ((1.0 - rows @ cells.directions.T) - least) * slope * 0.6
        guess -= guess.amax(1, keepdim=True)
        guess.exp_()
        known = guess @ cells.sizes.to(guess)
        guessed = guess[:, cell] * weight
        left = drawn - drawn.mean(1, keepdim=True)
        right = guessed - guessed.mean(1, keepdim=True)
        beta = (left * right).sum(1) / right.square().sum(1)
        sampled = (-log_best).exp()
        return sampled / (sampled + beta * (known - guessed.sum(1))).maximum(0.5 * sampled)


class _Recorder:
    """A source that notes the draws."""

    def __init__(self, source: PatchSource) -> None:
        self._source = source
        self.rows, self.mean, self.missing = source.rows, source.mean, source.missing
        self.cells_drawn = self.drawn = np.empty(0, np.int64)

    def nearest(self, patches: torch.Tensor, k: int) -> torch.Tensor:
        return self._source.nearest(patches, k)

    def fetch(self, rows: torch.Tensor) -> torch.Tensor:
        return self._source.fetch(rows)

    def cells(self) -> Cells:
        return self._source.cells()

    def draw(self, cells: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
        rows = self._source.draw(cells, random)
        self.cells_drawn, self.drawn = cells.numpy(), rows.numpy()
        return rows

    def blocks(self) -> Iterator[torch.Tensor]:
        return self._source.blocks()
