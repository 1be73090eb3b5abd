"""One builder a folder."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from art2real.errors import UserError

LOCK = ".building.lock"


@contextmanager
def sole_builder(bank: Path) -> Iterator[None]:
    """Holds the lock of a bank's folder, which must exist; the system lets go of it however the process ends.

    A file system without locks (some network mounts) does not keep two builders apart.

    Raises:
        UserError: another process is building in the folder.
    """
    path = bank / LOCK
    while True:
        file = path.open("a+")
        try:
            _lock(file.fileno(), bank, path)
        except BaseException:
            file.close()
            raise
        # A builder that ends removes the file: a lock on one that is gone keeps nobody out.
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            break
        file.close()
    try:
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


def _lock(descriptor: int, bank: Path, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = path.read_text(encoding="utf-8", errors="replace").strip() or "another process"
        raise UserError(f"{bank}: {who} is building in it; wait for that, or give another folder") from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
