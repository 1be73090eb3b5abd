"""Memory that is used again.

Fresh memory of some hundred kilobytes comes from the system, page by page, each filled with zeros: for a
photo that is decoded into it, that takes half as long as the decoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


class ReusedMemory:
    """Lends pieces of memory; what comes back is lent again. Safe between threads."""

    def __init__(self, most: int, pieces: int = 1) -> None:
        """Up to `pieces` are kept for the next borrowers, each of at most `most` bytes; the rest goes back to
        the system."""
        self._most = most
        self._pieces = pieces
        self._kept: list[np.ndarray] = []

    @contextmanager
    def lend(self, size: int) -> Iterator[np.ndarray]:
        """Memory of at least `size` bytes, uint8 `[B]`, of any content, the borrower's alone."""
        try:
            piece = self._kept.pop()
        except IndexError:  # the first, or another thread has it
            piece = np.empty(0, np.uint8)
        if len(piece) < size:
            piece = np.empty(size, np.uint8)
        try:
            yield piece
        finally:
            if len(piece) <= self._most and len(self._kept) < self._pieces:
                self._kept.append(piece)
