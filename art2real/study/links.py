"""Links for participants: who has one takes part with it, and with nothing else."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from art2real.errors import UsageError
from art2real.study.store import Store


def make_links(study: Path, *, database: str | None, count: int, base_url: str) -> list[str]:
    """Enrols participants and returns their links, which are nowhere else: the database has only hashes.

    Args:
        study: the study's folder.
        database: URL of its database; None: the file in the folder.
        count: how many.
        base_url: where participants reach the server, as `https://study.example.org`.

    Raises:
        UsageError: the address is none.
        UserError: there is no such study, or its database cannot be used.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise UsageError(
            f"{base_url!r} is no address of a server; write it as https://HOST or http://HOST:PORT"
        )
    if parts.path.strip("/"):
        raise UsageError(f"{base_url!r}: the server answers at the root of a host; leave out {parts.path!r}")
    store = Store.open(study, database)
    try:
        return [f"{parts.scheme}://{parts.netloc}/p/{store.enrol().token}" for _ in range(count)]
    finally:
        store.close()
