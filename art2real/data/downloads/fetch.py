"""One file over HTTP, which may be interrupted at any byte and goes on from there."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import IO
from urllib.parse import urlsplit

from art2real.data.downloads.part import Part, content_range
from art2real.errors import UserError

MAX_BYTES = 64 * 2**30
"""Largest file that is accepted."""
TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as lost."""
PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each new attempt for as long as the attempts bring nothing; then the download ends."""

_BLOCK = 2**18
_BUSY = {408, 425, 429, 500, 502, 503, 504}

OnBytes = Callable[[int, int | None, str], None]
"""Called with the bytes that are there, the bytes of the whole file if they are known, and a remark."""


def fetch(part: Part, on_bytes: OnBytes) -> None:
    """Completes `part` from its address, beginning at the byte at which an earlier download ended.

    A connection that is lost is taken up again for as long as that brings new bytes or `PAUSES` are left.

    Raises:
        UserError: the server cannot be reached, refuses, is lost for good or sends more than `MAX_BYTES`, or
            the disk refuses; what has arrived is kept if it is of use.
    """
    most, failures, answered = part.size, 0, False
    while not part.complete:
        try:
            with request(part.url, part.conditions()) as response:
                answered = True
                _receive(response, part, on_bytes)
            continue
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and part.size:
                # The server has no byte behind ours: ours are all there are, or they are of another file.
                part.end() if content_range(error.headers)[1] == part.size else part.remove()
                continue
            if error.code not in _BUSY or not answered:
                raise _refusal(part.url, error.code) from None
            reason = f"HTTP status {error.code}"
        except (OSError, http.client.HTTPException) as error:
            reason = _why(error)
            if not answered:
                raise UserError(
                    f"{part.url}: cannot be reached: {reason}; use --from URL for a mirror, or unpack "
                    f"{part.url.rpartition('/')[2]} into {part.path.parent} yourself"
                ) from None
        failures = 0 if part.size > most else failures + 1
        most = max(most, part.size)
        if failures > len(PAUSES):
            raise UserError(
                f"{part.url}: the connection is lost again and again ({reason}); "
                f"{part.size:,} bytes are kept, and the same command goes on with them"
            )
        pause = PAUSES[max(failures - 1, 0)]
        on_bytes(part.size, part.total, f"{reason}; again in {pause:g} s")
        time.sleep(pause)


def request(url: str, headers: dict[str, str], method: str = "GET") -> http.client.HTTPResponse:
    """The server's answer, after redirections to http and https addresses only.

    Raises:
        urllib.error.HTTPError: it answers with a status that is no success, or redirects elsewhere.
        OSError, http.client.HTTPException: it cannot be reached.
    """
    opener = urllib.request.build_opener(_HttpRedirects)
    opener.addheaders = [("User-Agent", "art2real")]
    try:
        asked = urllib.request.Request(url, headers=headers, method=method)
        answer: http.client.HTTPResponse = opener.open(asked, timeout=TIMEOUT)
    except ValueError as error:  # an address, of the user's or a redirection's, that is none
        raise http.client.InvalidURL(str(error)) from None
    return answer


def _receive(response: http.client.HTTPResponse, part: Part, on_bytes: OnBytes) -> None:
    """Appends an answer to the part; raises what a network raises if it ends early."""
    if response.status == 206 and part.size:
        if not part.continues_with(response.headers):
            part.remove()  # the next request asks for all of it
            return
    elif response.status == 200:
        part.begin(response.headers)
    else:
        raise _refusal(part.url, response.status)
    part.append(_blocks(response, part, on_bytes))
    if part.total is None:
        part.end()
    elif not part.complete:
        raise ConnectionResetError(f"it ended after {part.size:,} of {part.total:,} bytes")


def _blocks(response: http.client.HTTPResponse, part: Part, on_bytes: OnBytes) -> Iterator[bytes]:
    done = part.size
    while part.total is None or done < part.total:
        if max(done, part.total or 0) > MAX_BYTES:
            part.remove()
            raise UserError(f"{part.url}: has more than {MAX_BYTES:,} bytes; use --from URL for a mirror")
        # `read1` hands over what is there, so that a slow connection loses nothing when it breaks.
        block = response.read1(_BLOCK if part.total is None else min(_BLOCK, part.total - done))
        if not block:
            return
        yield block
        done += len(block)
        on_bytes(done, part.total, "")


def _why(error: Exception) -> str:
    """What went wrong on the network, in a few words."""
    reason = getattr(error, "reason", error)
    return getattr(reason, "strerror", None) or " ".join(str(reason).split()) or type(reason).__name__


def _refusal(url: str, status: int) -> UserError:
    words = http.client.responses.get(status, "unknown")
    if 300 <= status < 400:
        words += ", to where it is not followed"
    return UserError(f"{url}: the server answers with status {status} ({words}); use --from URL for a mirror")


class _HttpRedirects(urllib.request.HTTPRedirectHandler):
    """The standard one would also follow to ftp."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise urllib.error.HTTPError(req.full_url, code, msg, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
