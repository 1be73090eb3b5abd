"""Features of a whole image that are kept: on the computing device, in memory, or in a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Protocol

import numpy as np
import torch

from art2real.errors import UserError

_BYTES = 4  # of a float32


class StoredRows(Protocol):
    """Rows (`art2real.translation.bands.Rows`) that can be replaced."""

    @property
    def height(self) -> int: ...

    def rows(self, start: int, end: int) -> torch.Tensor: ...

    def write(self, start: int, rows: torch.Tensor) -> None:
        """Replaces the rows from `start` on by `[1, C, R, W]`."""
        ...


class MemoryRows:
    """Rows in a tensor, which may lie on another device than the one that computes."""

    def __init__(self, shape: tuple[int, int, int], storage: torch.device, like: torch.Tensor) -> None:
        """
        Args:
            shape: channels, height, width.
            storage: where the tensor lies.
            like: a tensor of the device and number format that the rows are to have.
        """
        self._like = like
        self._kept = torch.empty(1, *shape, dtype=like.dtype, device=storage)

    @property
    def height(self) -> int:
        return self._kept.shape[2]

    def rows(self, start: int, end: int) -> torch.Tensor:
        # Contiguous, as those of a file are: strides decide the order in which kernels add.
        return self._kept[:, :, start:end].to(self._like.device).contiguous()

    def write(self, start: int, rows: torch.Tensor) -> None:
        self._kept[:, :, start : start + rows.shape[2]] = rows


class FileRows:
    """Rows in a temporary file without a name, one after the other as `[height, C, W]` of float32.

    It is read and written, not mapped: mapped pages would count as memory of the process, and a disk that
    fails would end it.
    """

    def __init__(self, file: IO[bytes], shape: tuple[int, int, int], like: torch.Tensor) -> None:
        """Takes the room on the disk.

        Raises:
            UserError: there is not enough.
        """
        self._file, self._like = file, like
        channels, self.height, width = shape
        self._row = (channels, width)
        with _file_errors():
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, channels * self.height * width * _BYTES)

    def rows(self, start: int, end: int) -> torch.Tensor:
        channels, width = self._row
        with _file_errors():
            self._file.seek(start * channels * width * _BYTES)
            values = np.fromfile(self._file, np.float32, (end - start) * channels * width)
        rows = torch.from_numpy(values.reshape(end - start, channels, width))
        return rows.to(self._like).transpose(0, 1)[None].contiguous()

    def write(self, start: int, rows: torch.Tensor) -> None:
        channels, width = self._row
        values = rows[0].transpose(0, 1).float().contiguous().cpu().numpy()
        with _file_errors():
            self._file.seek(start * channels * width * _BYTES)
            values.tofile(self._file)


@contextmanager
def stored_rows(
    count: int, shape: tuple[int, int, int], like: torch.Tensor, memory: int
) -> Iterator[list[StoredRows]]:
    """Room for `count` arrays of rows; it is given back at the end.

    On a GPU where half of its free memory holds them, else in memory up to `memory` bytes, else on the disk.

    Args:
        shape: channels, height, width of each.
        like: a tensor of the device and number format that the rows are to have.

    Raises:
        UserError: the disk has no room.
    """
    size = count * int(np.prod(shape)) * _BYTES
    on_device = like.is_cuda and size <= torch.cuda.mem_get_info(like.device)[0] // 2
    if on_device or size <= memory:
        storage = like.device if on_device else torch.device("cpu")
        yield [MemoryRows(shape, storage, like) for _ in range(count)]
        return
    with ExitStack() as stack:
        with _file_errors():
            files = [stack.enter_context(tempfile.TemporaryFile(buffering=0)) for _ in range(count)]
        yield [FileRows(file, shape, like) for file in files]


@contextmanager
def _file_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"no room for the features of a large image in {tempfile.gettempdir()}: "
            f"{error.strerror or error}; set TMPDIR to a folder with more room"
        ) from None
