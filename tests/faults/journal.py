"""Which node does which piece of work of a Ray Data job, written down by the workers themselves."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from tests.faults.faulty_cluster import FaultyCluster, wait_for


@dataclass(frozen=True)
class Piece:
    """Rows of a job, begun on a node."""

    what: str
    """The same for the same rows."""
    node: str
    begun: float
    """Wall-clock time."""
    ended: float | None
    """None: it is under way, or was interrupted."""


class Journal:
    """A folder with two small files for each piece of work: when it was begun, and when it was done."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder

    @contextmanager
    def of(self, job: ModuleType) -> Iterator[Journal]:
        """Keeps it for the job of a module, whose function for rows is called `_do_rows`."""
        with mock.patch.object(job, "_do_rows", _noting(job.__name__, self._folder)):
            yield self

    def pieces(self) -> list[Piece]:
        found = []
        for path in sorted(self._folder.glob("*.begun")):
            ended = path.with_suffix(".ended")
            found.append(
                Piece(**json.loads(path.read_text()), ended=ended.stat().st_mtime if ended.exists() else None)
            )
        return found

    def nodes(self) -> dict[str, int]:
        """How many pieces each node has done."""
        done = [piece.node for piece in self.pieces() if piece.ended is not None]
        return {node: done.count(node) for node in set(done)}

    def strike_in_the_middle(
        self, cluster: FaultyCluster, strike: Callable[[Any], None], among: Sequence[Any] = ()
    ) -> float:
        """Waits until every worker node has done a piece and one of them has another in hand, strikes that
        node, and waits until what it had in hand is done by somebody; the seconds between.

        Args:
            among: the nodes that may be struck; none: all worker nodes.
        """
        by_id = {node.node_id: node for node in among or cluster.workers}

        def busy() -> Any:
            pieces, now = self.pieces(), time.time()
            if len(self.nodes()) < len(cluster.workers):
                return None
            young = [piece for piece in pieces if piece.ended is None and now - piece.begun < 0.2]
            return next((by_id[piece.node] for piece in young if piece.node in by_id), None)

        node = wait_for(busy)
        strike(node)
        struck = time.time()

        def again() -> float | None:
            pieces = self.pieces()
            lost = {piece.what for piece in pieces if piece.node == node.node_id and piece.ended is None}
            done = [
                piece.ended
                for piece in pieces
                if piece.what in lost and piece.ended is not None and piece.ended > struck
            ]
            return min(done, default=None)

        ended: float = wait_for(again)
        return ended - struck


def _noting(module: str, folder: Path) -> Callable[..., Iterator[Any]]:
    """A `_do_rows` that writes down what the module's own one does."""

    def noting(rows: dict[str, Any], **rest: Any) -> Iterator[Any]:
        import importlib

        import ray

        [texts] = rows.values()
        name = folder / uuid.uuid4().hex
        piece = {
            "what": hashlib.sha256("\n".join(texts).encode()).hexdigest(),
            "node": ray.get_runtime_context().get_node_id(),
            "begun": time.time(),
        }
        name.with_suffix(".tmp").write_text(json.dumps(piece))
        name.with_suffix(".tmp").replace(name.with_suffix(".begun"))
        yield from importlib.import_module(module)._do_rows(rows, **rest)
        name.with_suffix(".ended").touch()

    return noting
