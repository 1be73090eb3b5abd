"""A file that is arriving: its bytes so far, and what is known of the file that it will be."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path

from art2real.data.manifest import write_text
from art2real.errors import UserError


class Part:
    """The bytes in `path`, the facts beside them in `path`.json; both outlive the process."""

    def __init__(self, path: Path, url: str) -> None:
        """Takes up what an earlier download of `url` left; what is of another address is removed."""
        self.path = path
        self.url = url
        self.validator: str | None = None
        """The server's mark of this version of the file; none: what is here can only be begun anew."""
        self.total: int | None = None
        """Bytes of the whole file, if they are known."""
        self._facts = path.with_name(f"{path.name}.json")
        try:
            facts = json.loads(self._facts.read_text(encoding="utf-8"))
            same = facts["url"] == url and (facts["total"] is None or self.size <= facts["total"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            same = False
        if same:
            self.validator, self.total = facts["validator"], facts["total"]
        else:
            self.remove()

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def complete(self) -> bool:
        return self.path.exists() and self.size == self.total

    def conditions(self) -> dict[str, str]:
        """The headers that ask for the rest of the same file, or for all of it if it has changed."""
        if not self.size or self.validator is None:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self.validator}

    def continues_with(self, headers: Message) -> bool:
        """Whether a partial answer is the rest of this file; learns the size of the file from it."""
        start, total = content_range(headers)
        if self.total is None:
            self.total = total
        return (
            start == self.size
            and total in (None, self.total)
            and _validator(headers) in (None, self.validator)
        )

    def begin(self, headers: Message) -> None:
        """Empties the part for the file that the server announces."""
        with disk_errors(self.path):
            self.path.write_bytes(b"")
            self.validator, self.total = _validator(headers), content_length(headers)
            self._write_facts()

    def append(self, blocks: Iterable[bytes]) -> None:
        """Writes bytes as they come: none waits in a buffer that an interruption would lose."""
        with disk_errors(self.path):
            file = self.path.open("ab", buffering=0)
        with file:
            for block in blocks:
                rest = memoryview(block)
                with disk_errors(self.path):
                    while rest:
                        rest = rest[file.write(rest) :]

    def end(self) -> None:
        """What has arrived is all there is."""
        self.total = self.size
        with disk_errors(self.path):
            self._write_facts()

    def remove(self) -> None:
        with disk_errors(self.path):
            self.path.unlink(missing_ok=True)
            self._facts.unlink(missing_ok=True)
        self.validator = self.total = None

    def _write_facts(self) -> None:
        facts = {"url": self.url, "validator": self.validator, "total": self.total}
        write_text(self._facts, json.dumps(facts) + "\n")


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Tells the user when the disk, rather than the network, is what fails."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename or path}: {error.strerror}; what has arrived is kept, and the same command "
            "goes on with it once that is mended"
        ) from None


def content_length(headers: Message) -> int | None:
    """Bytes of the body, if the server says them."""
    found = re.fullmatch("[0-9]{1,18}", headers.get("Content-Length", ""))
    return None if found is None or "Transfer-Encoding" in headers else int(found[0])


def content_range(headers: Message) -> tuple[int | None, int | None]:
    """First byte of a partial answer and bytes of the whole file, each None if the server does not say it."""
    found = re.fullmatch(
        r"bytes (?:([0-9]{1,18})-[0-9]+|\*)/(?:([0-9]{1,18})|\*)", headers.get("Content-Range", "")
    )
    start, total = (None, None) if found is None else found.groups()
    return None if start is None else int(start), None if total is None else int(total)


def _validator(headers: Message) -> str | None:
    """What `If-Range` may carry: a strong ETag, or else the date of the last change."""
    tag: str | None = headers.get("ETag")
    return tag if tag is not None and tag.startswith('"') else headers.get("Last-Modified")
