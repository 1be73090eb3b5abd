"""A bank in memory that searches by brute force: what estimators are tested with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from art2real.core.affinity import unit
from art2real.core.estimators import Cells


class BruteSource:
    """Implements `art2real.core.estimators.PatchSource` over `[R, D]` patches in [-1, 1].

    cell_of: `[R]` the cell of each row; default: every row in one of eight cells, by turns.
    """

    missing = 0

    def __init__(
        self, patches: torch.Tensor, *, cell_of: torch.Tensor | None = None, block: int = 50
    ) -> None:
        self.patches = patches
        self.mean = patches.mean(0) if len(patches) else torch.zeros(patches.shape[1])
        self.cell_of = torch.arange(len(patches)) % 8 if cell_of is None else cell_of
        self.block = block

    @property
    def rows(self) -> int:
        return len(self.patches)

    def nearest(self, patches: torch.Tensor, k: int) -> torch.Tensor:
        found = torch.full((len(patches), k), -1)
        usable = patches.isfinite().all(1)
        near = min(k, self.rows)
        for rows in torch.nonzero(usable).flatten().split(256):
            closeness = unit(patches[rows], self.mean) @ unit(self.patches, self.mean).T
            found[rows, :near] = closeness.topk(near).indices
        return found

    def fetch(self, rows: torch.Tensor) -> torch.Tensor:
        assert int(rows.min()) >= 0
        return self.patches[rows]

    def cells(self) -> Cells:
        count = int(self.cell_of.max()) + 1
        sizes = torch.bincount(self.cell_of, minlength=count)
        sums = torch.zeros(count, self.patches.shape[1], dtype=self.patches.dtype)
        sums.index_add_(0, self.cell_of, unit(self.patches, self.mean))
        return Cells((sums / sizes.clamp_min(1)[:, None]).float(), sizes)

    def draw(self, cells: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
        order = self.cell_of.argsort(stable=True)
        sizes = torch.bincount(self.cell_of)
        assert bool((sizes[cells] > 0).all())
        start = sizes.cumsum(0) - sizes
        inside = torch.from_numpy(random.random(len(cells))) * sizes[cells]
        return order[start[cells] + inside.long()]

    def blocks(self) -> Iterator[torch.Tensor]:
        yield from self.patches.split(self.block)
