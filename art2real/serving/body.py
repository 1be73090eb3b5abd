"""The image out of a request's body: the body itself, or one field of a form."""

from __future__ import annotations

from collections.abc import AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers

from art2real.pages.problem import Problem

FIELD = "image"
"""The form field that holds the image."""
FORM_ROOM = 2**16
"""Bytes a form may have besides its image."""

_FORM = "multipart/form-data"
_WORDS = (
    "send the image itself as image/* or application/octet-stream, or as the field "
    f"{FIELD!r} of a form as {_FORM}"
)


def is_form(headers: Headers) -> bool:
    return _media_type(headers) == _FORM


async def read_image(headers: Headers, chunks: AsyncIterator[bytes], max_bytes: int) -> bytes:
    """The bytes of the image; never more than `max_bytes` and a piece are held.

    Raises:
        Problem: 415, 413, or 400 where a form is broken, cut off, or not as it should be.
    """
    kind = _media_type(headers)
    form = kind == _FORM
    if not form and kind not in ("", "application/octet-stream") and not kind.startswith("image/"):
        raise Problem(415, "unsupported_type", f"Content-Type {kind[:100]!r} is not taken; {_WORDS}")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Problem(415, "unsupported_type", "the body must not be compressed; leave out Content-Encoding")
    reader = _Form(headers.get("content-type", "")) if form else None
    pieces: list[bytes] = []
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > max_bytes + (FORM_ROOM if form else 0):
            raise _too_large(max_bytes)
        if reader is None:
            pieces.append(chunk)
        else:
            reader.feed(chunk)
    content = b"".join(pieces) if reader is None else reader.image()
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    return content


def _too_large(max_bytes: int) -> Problem:
    return Problem(
        413, "too_many_bytes", f"the image has more than {max_bytes} bytes, which this service takes"
    )


def _media_type(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


class _Form:
    """Reads a form piece by piece: one field, wherever its parts are cut."""

    def __init__(self, content_type: str) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not boundary:
            raise Problem(400, "bad_form", f"the Content-Type of a form needs a boundary; {_WORDS}")
        self._image: bytearray | None = None
        self._header = (bytearray(), bytearray())
        self._disposition = b""
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise _broken(error) from None

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _broken(error) from None

    def image(self) -> bytes:
        if not self._ended:
            raise Problem(400, "truncated", "the form ends before its last boundary: it was cut off")
        if self._image is None:
            raise Problem(400, "bad_form", f"the form has no field {FIELD!r}")
        return bytes(self._image)

    def _on_part_begin(self) -> None:
        self._disposition = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _on_header_end(self) -> None:
        name, value = self._header
        if bytes(name).lower() == b"content-disposition":
            self._disposition = bytes(value)
        self._header = (bytearray(), bytearray())

    def _on_headers_finished(self) -> None:
        name = parse_options_header(self._disposition)[1].get(b"name", b"").decode("utf-8", "replace")
        if name != FIELD:
            words = (
                f"form field {name[:50]!r} is not taken; the image is {FIELD!r}, the rest goes into the query"
            )
            raise Problem(400, "bad_form", words)
        if self._image is not None:
            raise Problem(400, "bad_form", f"the form has more than one field {FIELD!r}; send one image")
        self._image = bytearray()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._image is not None:
            self._image += data[start:end]

    def _on_end(self) -> None:
        self._ended = True


def _broken(error: FormParserError) -> Problem:
    return Problem(400, "bad_form", f"the form cannot be read: {str(error)[:200]}")
