"""Exact search: every row of a bank, in the loss's metric. The oracle of everything approximate."""

from __future__ import annotations

import numpy as np
import torch

from art2real.core.affinity import full_precision
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.index.protocol import Neighbours
from art2real.index.retriever import merge, unit_rows, unit_rows_and_norms

_ROWS_PER_BLOCK = 16384
_QUERIES_PER_BLOCK = 1024


class ExactRetriever:
    """Reads the whole bank for each search: implements `Retriever`."""

    def __init__(self, bank: MemoryBank, scale: Scale, least_norm: float = 0) -> None:
        """`least_norm`: rows that are shorter after centring are left out, see `Request.least_norm`."""
        self.bank = bank
        self.scale = scale
        self.least_norm = least_norm

    def search(self, queries: np.ndarray, k: int, *, without: np.ndarray | None = None) -> Neighbours:
        """The `k` nearest rows of each query: see `art2real.index.protocol.Retriever`.

        Args:
            without: int64 `[N, 2]`, first row and end of rows that each query must not find; None: all count.
        """
        own = np.zeros((len(queries), 2), np.int64) if without is None else without
        mean = self.bank.mean(self.scale)
        finite = np.isfinite(queries).all(axis=1)
        rows = torch.from_numpy(unit_rows(np.where(finite[:, None], queries, mean), mean))
        best = [
            (np.full((len(part), k), -np.inf, np.float32), np.full((len(part), k), -1, np.int64))
            for part in rows.split(_QUERIES_PER_BLOCK)
        ]
        first = 0
        for block in self.bank.blocks(self.scale, _ROWS_PER_BLOCK):
            vectors, norms = unit_rows_and_norms(block, mean)
            kept = np.flatnonzero(norms >= self.least_norm)
            columns, numbers = torch.from_numpy(vectors[kept]), kept + first
            for number, part in enumerate(rows.split(_QUERIES_PER_BLOCK)):
                with full_precision(rows.device):
                    products = part @ columns.T
                at = number * _QUERIES_PER_BLOCK
                _leave_out(products, numbers, own[at : at + len(part)])
                scores, places = products.topk(min(k, len(columns)))
                found = np.where(scores.isneginf(), -1, numbers[places.numpy()])
                best[number] = merge([best[number], (scores.numpy(), found)], k)
            first += len(block)
        scores_all, rows_all = (np.concatenate(column) for column in zip(*best, strict=True))
        scores_all[~finite], rows_all[~finite] = -np.inf, -1
        return scores_all, rows_all


def _leave_out(products: torch.Tensor, numbers: np.ndarray, own: np.ndarray) -> None:
    """Sets to -inf, in place, the products `[n, m]` with rows of the bank that a query must not find."""
    begin, end = np.searchsorted(numbers, own).T
    for query in np.flatnonzero(begin < end).tolist():
        products[query, begin[query] : end[query]] = -torch.inf
