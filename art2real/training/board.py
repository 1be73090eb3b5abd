"""What a run shows in TensorBoard: the figures of its log lines and the grids of its sample paintings."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import SummaryWriter

from art2real.config.load import flat


class Board:
    """Event files in the folder `tensorboard` of a run."""

    def __init__(self, run: Path, step: int) -> None:
        """`step`: steps done so far; what an earlier call has shown of later ones is taken back."""
        # Files are named by the second in which they are begun: two of the same second would be one.
        suffix = f".{step:08d}-{secrets.token_hex(4)}"
        folder = str(run / "tensorboard")
        self._writer = SummaryWriter(folder, purge_step=step + 1, filename_suffix=suffix)

    def log(self, line: Mapping[str, Any]) -> None:
        """The figures of a line of stats.jsonl; those of a group, such as the losses, are shown as one."""
        for name, figure in flat(line, "/").items():
            self._writer.add_scalar(name, figure, line["step"])
        self._writer.flush()

    def show(self, name: str, picture: np.ndarray, step: int) -> None:
        """A picture, uint8 `[H, W, 3]`."""
        self._writer.add_image(name, picture, step, dataformats="HWC")
        self._writer.flush()

    def close(self, *, finished: bool = True) -> None:
        self._writer.close()
