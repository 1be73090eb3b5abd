"""Checkpoints that are written while training goes on."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from art2real.errors import UserError
from art2real.training.run_folder import RunFolder
from art2real.training.state import Snapshot


class CheckpointSaver:
    """Writes one checkpoint at a time, in a thread."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: tuple[int, Future[None]] | None = None

    def begin(self, step: int, snapshot: Snapshot) -> None:
        """Begins to write the checkpoint after `step` steps; the one before must have been waited for."""
        assert self._pending is None
        self._pending = step, self._pool.submit(snapshot.write, self._run.checkpoint_path(step))

    def check(self) -> None:
        """Raises what the writing has failed with, if it has."""
        if self._pending is not None and self._pending[1].done():
            self._result()

    def wait(self) -> Path | None:
        """Waits for the checkpoint that was begun.

        Returns:
            Its folder; None if none was begun since the last call.

        Raises:
            UserError: it cannot be written.
        """
        if self._pending is None:
            return None
        step = self._result()
        self._pending = None
        return self._run.checkpoint_path(step)

    def close(self) -> None:
        """Waits for what is being written, whatever becomes of it."""
        self._pool.shutdown(wait=True)

    def _result(self) -> int:
        assert self._pending is not None
        step, written = self._pending
        try:
            written.result()
        except OSError as error:
            folder = self._run.checkpoint_path(step)
            raise UserError(
                f"checkpoint {folder} cannot be written: {error.strerror or error}; "
                "make room, then --resume goes on from the one before it"
            ) from None
        return step
