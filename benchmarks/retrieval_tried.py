"""Estimators that were tried beside `sampled` and lost, for the table of `retrieval_fidelity.py`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from art2real.core.affinity import full_precision, near_far_affinity, unit, whole
from art2real.core.estimators import Cells, Loss, PatchSource, Sampled


def mean_share(
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
    """Chances by the mean share that the patches expect of a cell, each patch as important as another."""
    usable = whole(generated) & whole(nearest)
    units = unit(generated[usable], mean)
    least = (1.0 - (units * unit(nearest[usable], mean)).sum(1, keepdim=True)).clamp_(min=0.0)
    total = torch.zeros_like(sizes)
    for block, distance in zip(units.split(256), least.split(256), strict=True):
        steepness = 0.6 / ((distance + epsilon) * bandwidth)
        total += ((block @ directions.T - 1.0) * steepness + sizes.log().to(block)).softmax(1).sum(0)
    return (1.0 - uniform) * total / len(units) + uniform * sizes / sizes.sum()


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
        self.rows, self.mean = source.rows, source.mean
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
