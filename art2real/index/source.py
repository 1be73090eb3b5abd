"""A scale of a bank as the estimators of `art2real.core.estimators` see it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch

from art2real.core.estimators import Cells
from art2real.core.patches import to_signed
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.index.retriever import BankRetriever


class RetrievedScale:
    """Implements `PatchSource`: the index finds rows, the bank has the patches.

    Rows that the index leaves out are in `rows`, `fetch` and `blocks`, and never in `nearest`, `cells` and
    `draw`.
    """

    def __init__(
        self,
        bank: MemoryBank,
        scale: Scale,
        retriever: BankRetriever,
        device: torch.device | str = "cpu",
    ) -> None:
        """`device`: where the mean, the cells' directions and fetched patches are; rows' numbers are not."""
        self.bank = bank
        self.scale = scale
        self.retriever = retriever
        self.device = torch.device(device)
        self._mean = torch.from_numpy(bank.mean(scale)).to(self.device)

    @property
    def rows(self) -> int:
        """Patches in the bank at this scale."""
        return self.bank.rows(self.scale)

    @property
    def mean(self) -> torch.Tensor:
        """`[D]` mean of the bank's patches, in [-1, 1]."""
        return self._mean

    @property
    def missing(self) -> int:
        """Patches whose nearest rows were looked for without a lost shard."""
        return self.retriever.missing

    def nearest(self, patches: torch.Tensor, k: int) -> torch.Tensor:
        """`[N, D]` in [-1, 1] -> int64 `[N, k]`: the nearest rows, nearer ones first as far as the index
        tells, -1 where there is none."""
        queries = patches.detach().to("cpu", torch.float32).numpy()
        return torch.from_numpy(self.retriever.neighbours(queries, k))

    def fetch(self, rows: torch.Tensor) -> torch.Tensor:
        """int64 `[R]` row numbers, none negative -> float32 `[R, D]` in [-1, 1]."""
        pixels = torch.from_numpy(self.retriever.fetch(rows.cpu().numpy()))
        # A quarter of the bytes of float32 goes to the device.
        return to_signed(pixels.to(self.device).permute(0, 3, 1, 2).flatten(1))

    def cells(self) -> Cells:
        """The cells of the index; their directions have unit length."""
        return self._cells

    @cached_property
    def _cells(self) -> Cells:
        directions, sizes = self.retriever.cells()
        return Cells(torch.from_numpy(directions).to(self.device), torch.from_numpy(sizes).to(self.device))

    def draw(self, cells: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
        """int64 `[M]` cells -> int64 `[M]`: for each a row of that cell, all equally likely; -1 where it is
        in a shard that was lost."""
        return torch.from_numpy(self.retriever.draw(cells.cpu().numpy(), random))

    def blocks(self) -> Iterator[torch.Tensor]:
        """The whole bank in order, float32 `[M_b, D]` in [-1, 1]."""
        return (torch.from_numpy(block).to(self.device) for block in self.bank.blocks(self.scale))
