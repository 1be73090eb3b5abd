"""One shard of an index in this process, and several of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from art2real.data.checksums import file_xxh3
from art2real.errors import UserError
from art2real.index import gpu
from art2real.index.factory import inverted_lists
from art2real.index.files import REBUILD, check_size
from art2real.index.left_out import RowNumbers, left_out_path, read_left_out
from art2real.index.manifest import Part, read_record
from art2real.index.protocol import Neighbours

# FAISS keeps batches of fewer values than this off BLAS. Its default of 128,000 makes batches of some
# hundred queries up to five times slower at the dimensions used here.
faiss.cvar.distance_compute_blas_threshold = min(faiss.cvar.distance_compute_blas_threshold, 1000)


class IndexShard:
    """A FAISS index over a range of rows of one scale, of which it may leave some out."""

    def __init__(self, index: Any, numbers: RowNumbers, threads: int | None = None) -> None:
        """`index`: a `faiss.Index` on the CPU; `numbers`: the bank's numbers of its rows."""
        self.index = index
        self.numbers = numbers
        self.threads = threads
        self._ivf = inverted_lists(index)
        self._on_gpu: Any = None
        self._resources: Any = None

    @classmethod
    def load(
        cls, path: Path, nprobe: int, threads: int | None = None, trained: str | None = None
    ) -> IndexShard:
        """Reads `part-NNNNN.index`, with the record and the rows left out that lie beside it.

        Args:
            path: the shard's file. nprobe: inverted lists scanned for a query.
            threads: that a search uses; None: as many as FAISS finds cores.
            trained: identity of the `Trained` that it has to be made with; None: any.

        Raises:
            UserError: the file is missing, truncated or damaged, or made with something else.
        """
        part = read_record(path.with_suffix(".json"), Part)
        if part is None:
            raise UserError(f"{path} has no record beside it; build the index again with `build-index BANK`")
        if trained is not None and part.trained != trained:
            raise UserError(f"{path} was built anew while its index was in use; start again what uses it")
        left_out = read_left_out(left_out_path(path), part)
        shard = cls(read_index(path, part.file.bytes), RowNumbers(part.first_row, left_out), threads)
        # FAISS reads changed codes without a word, and would find other rows.
        if file_xxh3(path) != part.file.checksum:
            raise UserError(f"index file {path} is damaged: its content is not what was written; {REBUILD}")
        held = part.rows - part.left_out.rows
        if shard.index.ntotal != held:
            raise UserError(f"{path} holds {shard.index.ntotal} rows instead of {held}; {REBUILD}")
        shard.nprobe = nprobe
        return shard

    def to_gpu(self, device: int) -> None:
        """Searches on GPU `device` from now on, or still on the CPU where the type has no GPU version; the
        log says which. The CPU's copy goes on naming the rows of the cells.

        Raises:
            UserError: there is no such GPU, or it has no room.
        """
        if gpu.gpu_storage(self.index) is None:
            gpu.say_that_it_stays(device)
            return
        try:
            # The resources own the GPU's memory, so they must live as long as the index.
            self._resources = gpu.resources()
            self._on_gpu = gpu.clone(self._resources, device, self.index)
        except RuntimeError as error:
            self._resources = None
            raise UserError(
                f"the index does not go onto GPU {device}: {str(error).splitlines()[-1][-200:]}; "
                "give the index actors no GPU, or build it with more --shards or a smaller --factory"
            ) from None

    @property
    def nprobe(self) -> int:
        """Inverted lists scanned for a query; 1 where the index has none."""
        return 1 if self._ivf is None else int(self._ivf.nprobe)

    @nprobe.setter
    def nprobe(self, lists: int) -> None:
        if self._ivf is not None:
            self._ivf.nprobe = lists
            if self._on_gpu is not None:
                faiss.GpuParameterSpace().set_index_parameter(self._on_gpu, "nprobe", lists)

    def search(self, unit_queries: np.ndarray, k: int, parameters: Any = None) -> Neighbours:
        """The `k` nearest rows: see `art2real.index.protocol.Shards`.

        Args:
            parameters: `faiss.SearchParameters` of the index's type, for a search on the CPU; None: as it is
                set.

        Raises:
            RuntimeError: the index's type takes no such parameters.
        """
        if self.threads is not None:
            # OpenMP keeps this for each calling thread, so it has to be said where the search is.
            faiss.omp_set_num_threads(self.threads)
        on_gpu = self._on_gpu is not None and parameters is None and k <= gpu.MOST_NEIGHBOURS
        searcher = self._on_gpu if on_gpu else self.index
        queries = np.ascontiguousarray(unit_queries, dtype=np.float32)
        return self.named(*searcher.search(queries, k, params=parameters))

    def named(self, scores: np.ndarray, positions: np.ndarray) -> Neighbours:
        """What FAISS found in this index, as cosines and the bank's row numbers."""
        if self.index.metric_type == faiss.METRIC_L2:
            scores = 1.0 - 0.5 * scores  # |a - b|^2 = 2 - 2 a·b
        missing = positions < 0
        return (
            np.where(missing, np.float32(-np.inf), scores).astype(np.float32, copy=False),
            np.where(missing, -1, self.numbers.of(positions)),
        )

    def cell_sizes(self) -> np.ndarray:
        """Rows in each inverted list, int64 `[C]`; an index without lists is one cell."""
        if self._ivf is None:
            return np.array([self.index.ntotal], dtype=np.int64)
        size = self._ivf.invlists.list_size
        return np.fromiter((size(cell) for cell in range(self._ivf.nlist)), np.int64, self._ivf.nlist)

    def rows_at(self, cells: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """The row at each offset inside each cell, int64 `[M]`; offsets must be below the cell's size."""
        if self._ivf is None:
            return self.numbers.of(offsets)
        at = self._ivf.invlists.get_single_id
        pairs = zip(cells.tolist(), offsets.tolist(), strict=True)
        return self.numbers.of(np.fromiter((at(*pair) for pair in pairs), np.int64, len(cells)))


class LocalShards:
    """Shards of one scale in this process."""

    def __init__(self, shards: Sequence[IndexShard]) -> None:
        """`shards`: in the order of their rows."""
        self.shards = shards
        self.missing: Counter[int] = Counter()

    def search(self, unit_queries: np.ndarray, k: int) -> list[Neighbours]:
        return [shard.search(unit_queries, k) for shard in self.shards]

    def cell_sizes(self) -> list[np.ndarray]:
        return [shard.cell_sizes() for shard in self.shards]

    def rows_at(self, cells: Sequence[np.ndarray], offsets: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [shard.rows_at(mine, at) for shard, mine, at in zip(self.shards, cells, offsets, strict=True)]


def read_index(path: Path, size: int) -> Any:
    """A `faiss.Index` from a file that must have `size` bytes.

    Raises:
        UserError: the file is missing, truncated or damaged.
    """
    check_size(path, size)
    try:
        return faiss.read_index(str(path))
    except (RuntimeError, MemoryError) as error:
        raise UserError(f"index file {path} cannot be read ({str(error)[-120:]}); {REBUILD}") from None
