"""Tokens, other origins, and the access log."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from pydantic import ValidationError

from art2real.errors import UserError
from art2real.serving.settings import ServiceSettings
from tests.serving.made import Asked, Asker, check_error, image_bytes, piece, service

TOKEN = "s3cret-token"
ELSEWHERE = {"Origin": "https://museum.example"}


@pytest.fixture
def ask():
    with Asker(service(token=TOKEN, cors_origins=("https://museum.example",), max_bytes=5000)) as client:
        yield client


def test_what_needs_a_token(ask):
    for path in ("/", "/health/live", "/health/ready", "/openapi.json"):
        assert ask.get(path).status_code == 200
    good = {"Authorization": f"Bearer {TOKEN}"}
    assert ask.get("/v1/models", headers=good).status_code == 200
    assert ask.get("/v1/models", headers={"Authorization": f"bearer  {TOKEN}"}).status_code == 200
    assert ask.post("/v1/translate", content=image_bytes(), headers=good).status_code == 200


@pytest.mark.parametrize(
    "given",
    [None, "", "Bearer", "Bearer ", "Bearer s3cret", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer ÿ"],
)
def test_wrong_tokens(ask, given):
    headers = {} if given is None else {"Authorization": given.encode("latin-1")}
    for method, path in (
        ("GET", "/v1/models"),
        ("POST", "/v1/translate"),
        ("GET", "/v1/nothing"),
        ("PUT", "/x"),
    ):
        answer = ask.request(method, path, headers=headers)
        assert TOKEN not in check_error(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_without_a_token_no_body_is_read():
    async def run():
        asked = Asked(service(token=TOKEN), [piece(image_bytes(), False)])
        await asked.task
        return asked.status, asked.taken

    assert asyncio.run(run()) == (401, 0)


def test_a_token_is_not_shown():
    assert TOKEN not in repr(ServiceSettings(token=TOKEN))


@pytest.mark.parametrize(
    "wrong",
    [
        {"token": ""},
        {"token": " a"},
        {"token": "é"},
        {"cors_origins": ("museum.example",)},
        {"cors_origins": ("https://museum.example/",)},
        {"max_bytes": 0},
        {"timeout_seconds": float("inf")},
        {"max_byte": 1},
    ],
)
def test_settings_that_cannot_be_meant(wrong):
    with pytest.raises(ValidationError):
        ServiceSettings(**wrong)


def test_other_origins_may_not_unless_told():
    with Asker(service()) as ask:
        answer = ask.post("/v1/translate", content=image_bytes(), headers=ELSEWHERE)
        assert "access-control-allow-origin" not in answer.headers
        asked_before = {**ELSEWHERE, "Access-Control-Request-Method": "POST"}
        check_error(ask.options("/v1/translate", headers=asked_before), 405)


def test_origins_that_may_see_answers_and_errors_alike(ask):
    good = {**ELSEWHERE, "Authorization": f"Bearer {TOKEN}"}
    before = {
        **ELSEWHERE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    assert ask.options("/v1/translate", headers=before).status_code == 200
    for answer, status in (
        (ask.post("/v1/translate", content=image_bytes(), headers=good), 200),
        (ask.post("/v1/translate", headers=ELSEWHERE), 401),
        (ask.post("/v1/translate", content=bytes(6000), headers=good), 413),
        (ask.post("/v1/translate", content=b"x", headers=good), 400),
        (ask.get("/nothing", headers=good), 404),
    ):
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == "https://museum.example"
        assert "Retry-After" in answer.headers["access-control-expose-headers"]
    other = ask.get("/v1/models", headers={**good, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_the_access_log_has_a_line_for_each_request(tmp_path):
    path = tmp_path / "logs" / "access.jsonl"
    painting = image_bytes()
    with Asker(service(access_log=path, token=TOKEN)) as ask:
        good = {"Authorization": f"Bearer {TOKEN}"}
        done = ask.post("/v1/translate?model=monet&token=hunter2", content=painting, headers=good)
        done = ask.post("/v1/translate?model=monet", content=painting, headers=good)
        ask.get('/a%0d%0a{"status":200}%1b[31m\u2028/' + "x" * 2000)
    text = path.read_text("ascii")
    assert TOKEN not in text
    assert "hunter2" not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert len(lines) == 3
    assert [line["status"] for line in lines] == [422, 200, 401]
    assert [line["code"] for line in lines] == ["wrong_parameter", None, "unauthorized"]
    line = lines[1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])
    assert line["request_id"] == done.headers["x-request-id"]
    assert (line["method"], line["path"]) == ("POST", "/v1/translate")
    assert (line["bytes_in"], line["bytes_out"]) == (len(painting), len(done.content))
    assert set(line["stages_ms"]) == {"read", "decode", "translate", "encode"}
    assert line["ms"] >= sum(line["stages_ms"].values()) - 1
    assert line["client"] == "127.0.0.1"
    assert lines[2]["path"].startswith('/a\r\n{"status":200}\x1b[31m')
    assert len(lines[2]["path"]) == 500


def test_a_log_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"access log .* cannot be written"):
        service(access_log=tmp_path / "file" / "log")
