"""The deployment that holds a memory bank and its indices, and tells the sources of pictures."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from art2real.data.bank import MemoryBank
from art2real.index.retriever import open_retriever
from art2real.translation.explain import explain


class Explainer:
    """Finds the real patches behind translated pictures, one picture at a time."""

    def __init__(self, bank: str, threads: int) -> None:
        self._bank = MemoryBank.open(Path(bank))
        self._retrievers = {scale: open_retriever(self._bank, scale, threads) for scale in self._bank.scales}
        self._executor = ThreadPoolExecutor(1)

    async def explain(self, pixels: np.ndarray, pictures: bool) -> dict[str, Any]:
        """See `art2real.translation.explain`: of a translated picture, uint8 `[H, W, 3]`."""
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, self._explain, pixels, pictures
        )

    def _explain(self, pixels: np.ndarray, pictures: bool) -> dict[str, Any]:
        return explain(pixels, self._bank, self._retrievers).to_dict(pictures, local_paths=False)
