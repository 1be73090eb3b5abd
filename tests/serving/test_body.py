"""Forms wherever they are cut, and bodies that never end."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers

from art2real.serving.body import FORM_ROOM, read_image
from art2real.serving.problems import Problem
from tests.serving.made import FORM_TYPE, Asked, form, image_bytes, piece, service


def read(body: bytes, kind=FORM_TYPE, *, size=7, max_bytes=2**20):
    async def chunks():
        for begin in range(0, len(body), size):
            yield body[begin : begin + size]

    return asyncio.run(read_image(Headers({"content-type": kind}), chunks(), max_bytes))


def code_of(*arguments, **options) -> tuple[int, str]:
    with pytest.raises(Problem) as caught:
        read(*arguments, **options)
    return caught.value.status, caught.value.code


@given(content=st.binary(max_size=200) | st.just(b"\r\n--edg\r\n--edge\r"), size=st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_a_form_holds_exactly_the_bytes_put_into_it(content, size):
    if b"\r\n--edge" not in content:
        assert read(form(content), size=size) == content
    assert read(content, "image/png", size=size) == content


def test_a_form_cut_off_anywhere_is_refused():
    whole = form(b"picture" * 3)
    for length in range(len(whole) - len(b"--\r\n")):
        assert code_of(whole[:length])[0] == 400
    assert code_of(whole[:-10]) == (400, "truncated")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (form(b"a", name="picture"), FORM_TYPE),
        (form(b"a")[: -len(b"--\r\n")] + b"\r\n" + form(b"b")[len(b"--edge\r\n") :], FORM_TYPE),
        (b"--edge\r\nContent-Disposition: form-data\r\n\r\na\r\n--edge--\r\n", FORM_TYPE),
        (b"--edge\r\n\r\na\r\n--edge--\r\n", FORM_TYPE),
        (b"--edge--\r\n", FORM_TYPE),
        (b"no form at all", FORM_TYPE),
        (form(b"a"), "multipart/form-data"),
        (form(b"a"), "multipart/form-data; boundary="),
        (form(b"a"), "multipart/form-data; boundary=" + "e" * 1000),
        (form(b"a"), "multipart/form-data; boundary=other"),
        (b"--edge\r\n" + b"X: y\r\n" * 1000 + b"\r\n", FORM_TYPE),
        (b"--edge\r\nX: " + b"y" * 50_000 + b"\r\n\r\n", FORM_TYPE),
    ],
)
def test_forms_that_are_not_as_they_should_be(body, kind):
    assert code_of(body, kind)[0] == 400


def test_as_many_bytes_as_allowed_and_no_more():
    assert len(read(b"x" * 1000, "image/png", max_bytes=1000)) == 1000
    assert len(read(form(b"x" * 1000), max_bytes=1000)) == 1000
    assert code_of(b"x" * 1001, "image/png", max_bytes=1000) == (413, "too_many_bytes")
    assert code_of(form(b"x" * 1001), max_bytes=1000) == (413, "too_many_bytes")


@pytest.mark.parametrize("kind", ["image/png", FORM_TYPE])
def test_a_body_without_an_end_is_read_to_the_limit_only(kind):
    """100 MB in pieces, without a Content-Length: no more is taken than is allowed."""
    limit = 2**18

    async def run():
        start = form(b"")[: -len(b"\r\n--edge--\r\n")] if kind == FORM_TYPE else b""
        endless = (piece(start if number == 0 else bytes(2**14)) for number in range(6400))
        asked = Asked(service(max_bytes=limit), endless, headers=[("content-type", kind)])
        await asyncio.wait_for(asked.task, 10)
        return asked

    asked = asyncio.run(run())
    assert asked.status == 413
    assert asked.taken * 2**14 <= limit + FORM_ROOM + 2**15


def test_a_body_that_is_said_to_be_too_long_is_not_read_at_all():
    async def run(length):
        asked = Asked(service(), [piece(bytes(10), False)], headers=[("content-length", length)])
        await asyncio.wait_for(asked.task, 10)
        return asked.status, asked.taken

    assert asyncio.run(run("100000000")) == (413, 0)
    assert asyncio.run(run("1" + "0" * 30)) == (413, 0)
    assert asyncio.run(run("-5")) == (400, 0)
    assert asyncio.run(run("²")) == (400, 0)


def test_pixels_are_counted_before_they_are_decoded():
    async def run():
        asked = Asked(service(max_pixels=599), [piece(image_bytes("PNG", 20, 30), False)])
        await asyncio.wait_for(asked.task, 10)
        return asked

    asked = asyncio.run(run())
    assert asked.status == 413
    assert b"too_many_pixels" in asked.sent[1]["body"]
