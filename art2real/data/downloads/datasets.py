"""Public sets of paintings and photos: downloaded by name, recorded the first time, compared ever after."""

from __future__ import annotations

import fcntl
import http.client
import json
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from art2real.data.checksums import file_sha256
from art2real.data.downloads.fetch import fetch, request
from art2real.data.downloads.part import Part, content_length, disk_errors
from art2real.data.downloads.unpack import ArchiveError, Member, unpack
from art2real.data.manifest import write_text
from art2real.errors import UsageError, UserError

NAMES = ("monet2photo", "cezanne2photo", "vangogh2photo", "ukiyoe2photo")
SOURCE = "http://efrosgans.eecs.berkeley.edu/cyclegan/datasets"


class Bar(Protocol):
    """Shows how far something has come."""

    def update(self, done: float, total: float | None = None, note: str = "") -> None:
        """Says that `done` of `total` units are finished."""


Stage = Callable[[str], AbstractContextManager[Bar]]
"""Opens the bar of a stage that counts in the given unit."""


@dataclass(frozen=True)
class Record:
    """What a set's archive was when it was downloaded, and the files that came out of it."""

    url: str
    bytes: int
    sha256: str
    date: str
    """UTC, ISO 8601."""
    files: dict[str, Member]
    """By their path in the set's folder."""

    def to_json(self) -> str:
        files = {path: [member.bytes, f"{member.crc32:08x}"] for path, member in self.files.items()}
        return json.dumps({**vars(self), "files": files}) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Raises ValueError, KeyError or TypeError if the text is no record."""
        facts = json.loads(text)
        files = {path: Member(int(size), int(crc, 16)) for path, (size, crc) in facts["files"].items()}
        return cls(facts["url"], int(facts["bytes"]), facts["sha256"], facts["date"], files)


class DataSet:
    """A set in the folder `out`: its files in `out/NAME`, its record in `out/NAME.json`."""

    def __init__(self, name: str, out: Path, source: str = SOURCE) -> None:
        """`source` is the address of the folder that has NAME.zip.

        Raises:
            UsageError: `source` is no http or https address.
        """
        _check_source(source)
        self.name = name
        self.out = out
        self.folder = out / name
        self.url = f"{source.rstrip('/')}/{name}.zip"
        self.archive = out / f"{name}.zip"
        self.record_file = out / f"{name}.json"
        self._part = out / f".{name}.zip.part"
        self._unpacking = out / f".{name}.unpacking"

    @property
    def present(self) -> bool:
        """Raises UserError if something else stands where the set belongs."""
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{self.folder}: is a file; move it away, or give another --out")
        return self.folder.is_dir()

    def record(self) -> Record | None:
        """Raises UserError if the record cannot be read."""
        try:
            return Record.from_json(self.record_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"{self.record_file}: cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(
                f"{self.record_file}: is no record of a download; move it away, and {self.name} with it"
            ) from None

    def remote_bytes(self) -> int | None:
        """Size of the archive, if the server can be reached and says it; downloads nothing."""
        try:
            with request(self.url, {}, method="HEAD") as response:
                return content_length(response.headers)
        except (OSError, http.client.HTTPException):
            return None

    def download(
        self,
        stage: Stage,
        *,
        sha256: str | None = None,
        overwrite: bool = False,
        keep_archive: bool = False,
    ) -> Record:
        """Downloads, compares, unpacks and records the set; one that was interrupted goes on where it was.

        The archive must have the SHA-256 `sha256`; where none is given, that of the record, if there is one
        and it is not to be overwritten.

        Raises:
            UserError: the set or, with `keep_archive`, its archive is there already; another process
                downloads it; the archive is another one or is not safe to unpack; or as `fetch` says.
        """
        with disk_errors(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
            with self._alone():
                for path in (self.folder, self.archive) if keep_archive else (self.folder,):
                    if path.exists():
                        raise UserError(f"{path}: is there already; move it away to download it anew")
                known = None if overwrite or sha256 else self.record()
                part = Part(self._part, self.url)
                found = self._fetch(part, stage, sha256, known)
                try:
                    record = Record(self.url, part.size, found, _now(), self._unpack(part, stage))
                    write_text(self.record_file, record.to_json())
                    self._unpacking.rename(self.folder)
                finally:
                    shutil.rmtree(self._unpacking, ignore_errors=True)
                if keep_archive:
                    part.path.rename(self.archive)
                part.remove()
                return record

    def _fetch(self, part: Part, stage: Stage, sha256: str | None, known: Record | None) -> str:
        """Completes the archive and returns its SHA-256, which is the one that it must have."""
        with stage("MB downloaded") as bar:

            def on_bytes(done: int, total: int | None, note: str) -> None:
                bar.update(done / 1e6, None if total is None else total / 1e6, note)

            fetch(part, on_bytes)
        found = file_sha256(part.path)
        expected = known.sha256 if known else sha256
        if expected not in (None, found):
            part.remove()
            raise UserError(self._another_archive(found, sha256, known))
        return found

    def _unpack(self, part: Part, stage: Stage) -> dict[str, Member]:
        shutil.rmtree(self._unpacking, ignore_errors=True)  # a process that was killed leaves it
        try:
            with stage("files unpacked") as bar:
                return unpack(part.path, self.name, self._unpacking, bar.update)
        except ArchiveError as error:
            part.remove()
            raise UserError(
                f"{self.url}: the archive is not unpacked ({error}) but removed; use --from URL for a mirror"
            ) from None

    def _another_archive(self, found: str, sha256: str | None, known: Record | None) -> str:
        if known is None:
            return (
                f"{self.url}: the archive has SHA-256 {found}, not {sha256} as --sha256 says; it is removed"
            )
        return (
            f"{self.url}: the archive has SHA-256 {found}, not {known.sha256} as {self.record_file} says of "
            f"{known.date}; it is removed; use --overwrite if the set was published anew"
        )

    def damaged(self, stage: Stage) -> list[str]:
        """The files of the record that are missing, or not what was unpacked, by their path in the folder.

        Raises:
            UserError: there is no record or no set to compare.
        """
        record = self.record()
        if record is None or not self.present:
            raise UserError(
                f"{self.folder}: there is no recorded download to verify; leave out --verify to make one"
            )
        damaged = []
        with stage("files verified") as bar:
            for number, (path, member) in enumerate(record.files.items()):
                if _member(self.folder / path) != member:
                    damaged.append(path)
                bar.update(number + 1, len(record.files))
        return damaged

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self.out / f".{self.name}.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{self.folder}: another process is downloading it; wait for that") from None
            yield


def _check_source(source: str) -> None:
    try:
        parts = urlsplit(source)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    plain = source.isascii() and source.isprintable() and not set(source) & set(" ?#@")
    if not (good and plain):
        raise UsageError(
            f"--from {source!r}: give the http:// or https:// address of the folder of the archive"
        )


def _member(path: Path) -> Member | None:
    """What a file on the disk is; None if it is not there or cannot be read."""
    size = crc = 0
    try:
        with path.open("rb") as file:
            while block := file.read(2**20):
                size, crc = size + len(block), zlib.crc32(block, crc)
    except OSError:
        return None
    return Member(size, crc)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
