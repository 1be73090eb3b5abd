"""The rows that an index leaves out, and the numbers of those that it holds. Free of FAISS and torch.

A row that hardly differs from the bank's mean has, once it is made unit length, a direction of noise: found
as a neighbour it would mean nothing. FAISS numbers the rows that it holds from 0, without gaps, which every
type of index can do; what is left out is in a file beside it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.errors import UserError
from art2real.index.files import REBUILD, check_size, write_file
from art2real.index.manifest import LeftOut, Part, Request

_NONE = np.empty(0, np.int64)


class RowNumbers:
    """The bank's row numbers of an index's rows: those of a range from `first_row` on, some left out."""

    def __init__(self, first_row: int, left_out: np.ndarray = _NONE) -> None:
        """`left_out`: row numbers of the bank, int64, sorted, each once."""
        self.first_row = first_row
        self._left_out = left_out
        # How many rows the index holds before each row left out: at that position, one more was skipped.
        self._held_before = left_out - first_row - np.arange(len(left_out))

    def of(self, positions: np.ndarray) -> np.ndarray:
        """Positions in the index, int64 of any shape, none negative -> row numbers, int64."""
        return self.first_row + positions + np.searchsorted(self._held_before, positions, side="right")

    def held_before(self, rows: np.ndarray) -> np.ndarray:
        """How many rows the index holds before each row number of the bank: int64 of any shape, not negative.

        Of a row that it holds this is the position; it goes on counting behind the range's end.
        """
        return np.maximum(rows - self.first_row - np.searchsorted(self._left_out, rows), 0)


def left_out_path(part: Path) -> Path:
    """Where the rows lie that are not in the index file `part`."""
    return part.with_suffix(".left_out.arrow")


def write_left_out(bank: Path, part: Path, rows: np.ndarray, norms: np.ndarray) -> LeftOut:
    """Writes the rows left out of the index file `part`: an Arrow file with the columns `row` and `norm`.

    Args:
        rows: int64 `[R]` row numbers of the bank, sorted.
        norms: float32 `[R]` length of each centred row, in units of [-1, 1].

    Raises:
        UserError: the file cannot be written.
    """
    table = pa.table({"row": pa.array(rows, pa.int64()), "norm": pa.array(norms, pa.float32())})

    def write(name: str) -> None:
        with pa.OSFile(name, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)

    entry = write_file(bank, left_out_path(part), write)
    return LeftOut(**entry.model_dump(), rows=len(rows))


def read_left_out(path: Path, part: Part) -> np.ndarray:
    """The rows left out of a part: int64 `[R]`, sorted.

    Raises:
        UserError: the file is missing, truncated or damaged.
    """
    check_size(path, part.left_out.bytes)
    try:
        with pa.OSFile(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
        rows = table.column("row").to_numpy().astype(np.int64)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise UserError(f"index file {path} cannot be read ({str(error)[-120:]}); {REBUILD}") from None
    # A wrong row would shift the numbers of all rows after it, and nobody would notice.
    ends = np.concatenate([[part.first_row - 1], rows, [part.first_row + part.rows]])
    if len(rows) != part.left_out.rows or (np.diff(ends) < 1).any():
        raise UserError(f"index file {path} does not hold the rows of its record; {REBUILD}")
    return rows


def nothing_to_hold(bank: MemoryBank, scale: Scale, request: Request) -> UserError:
    """What to raise where all rows would be left out."""
    return UserError(
        f"bank {bank.path} has only near-constant patches at scale {scale}, less than "
        f"{request.min_contrast:g} grey levels from their mean: there is nothing to search; lower "
        "--min-contrast, or build a bank of other photos"
    )
