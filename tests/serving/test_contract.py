"""The HTTP contract: what is asked properly is answered properly, and all else is an error with a code."""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest
import torch
from PIL import Image

from art2real.core.networks import ResNetGenerator, initialise
from art2real.serving.backend import Busy, Unavailable, UnknownModel
from art2real.serving.local import LocalBackend
from art2real.translation.image import translate_image
from tests.data.hard_files import BAD, GOOD, write_hard_folder
from tests.pictures import make_photo
from tests.serving.made import FORM_TYPE, Asker, Mirror, check_error, form, image_bytes, pixels_of, service


@pytest.fixture
def backend():
    return Mirror()


@pytest.fixture
def ask(backend):
    with Asker(service(backend)) as client:
        yield client


def test_a_painting_comes_back_translated_in_its_size(ask):
    painting = image_bytes("PNG", 21, 34)
    answer = ask.post("/v1/translate", content=painting)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert np.array_equal(pixels_of(answer.content), 255 - pixels_of(painting))
    stages = [stage.split(";dur=") for stage in answer.headers["server-timing"].split(", ")]
    assert [name for name, _ in stages] == ["read", "decode", "translate", "encode"]
    assert all(float(duration) >= 0 for _, duration in stages)


@pytest.mark.usefixtures("one_thread")
def test_a_real_generator_translates_as_it_does_elsewhere():
    generator = ResNetGenerator(4, 1).eval()
    initialise(generator, torch.Generator().manual_seed(0))
    painting = image_bytes("PNG", 19, 26)
    with Asker(service(LocalBackend({"tiny": generator}))) as ask:
        answer = ask.post("/v1/translate", content=painting)
        assert np.array_equal(pixels_of(answer.content), translate_image(generator, pixels_of(painting)))
        assert ask.get("/health/ready").status_code == 200
        check_error(ask.post("/v1/explain", content=painting), 404, "no_bank")


@pytest.mark.parametrize(
    "kind", [None, "image/png", "IMAGE/x-unknown", "application/octet-stream", FORM_TYPE]
)
def test_an_image_or_a_form_with_one(ask, kind):
    painting = image_bytes()
    body = form(painting) if kind == FORM_TYPE else painting
    answer = ask.post("/v1/translate", content=body, headers={} if kind is None else {"Content-Type": kind})
    assert np.array_equal(pixels_of(answer.content), 255 - pixels_of(painting))


def test_what_clients_make_of_a_form(ask):
    assert ask.post("/v1/translate", files={"image": ('é".png', image_bytes())}).status_code == 200


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_formats_and_quality(ask, name):
    sizes = []
    for quality in (1, 95, None):
        query = {"format": name} if quality is None else {"format": name, "quality": quality}
        answer = ask.post("/v1/translate", params=query, content=image_bytes())
        assert answer.headers["content-type"] == f"image/{name}"
        assert Image.open(io.BytesIO(answer.content)).format == name.upper()
        sizes.append(len(answer.content))
    assert sizes[1] == sizes[2]
    assert (sizes[0] < sizes[1]) == (name != "png")


def test_a_turned_painting_comes_back_upright(ask):
    exif = Image.Exif()
    exif[0x0112] = 6
    answer = ask.post("/v1/translate", content=image_bytes("JPEG", 20, 40, exif=exif))
    assert pixels_of(answer.content).shape == (40, 20, 3)


def test_one_pixel_is_an_image(ask):
    assert pixels_of(ask.post("/v1/translate", content=image_bytes("PNG", 1, 1)).content).shape == (1, 1, 3)


def test_the_answer_of_a_large_image_comes_in_pieces_and_whole(ask):
    noise = np.random.default_rng(0).integers(0, 256, (500, 700, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG", compress_level=0)
    assert len(out.getvalue()) > 2**20
    answer = ask.post("/v1/translate", content=out.getvalue())
    assert np.array_equal(pixels_of(answer.content), 255 - noise)


def test_explanations(ask):
    painting = image_bytes("PNG", 20, 30)
    mean = round(float((255 - pixels_of(painting)).mean()), 3)
    for body, kind in ((painting, "image/png"), (form(painting), FORM_TYPE)):
        answer = ask.post(
            "/v1/explain?model=cezanne&pictures=false", content=body, headers={"Content-Type": kind}
        )
        said = answer.json()
        assert (said["width"], said["height"]) == (30, 20)
        assert said["asked"] == ["cezanne", False, mean], "of the translation, not of the painting"
    answer = ask.post("/v1/explain", content=painting)
    assert answer.json()["asked"] == ["monet", True, mean]
    assert "explain;dur=" in answer.headers["server-timing"]
    check_error(ask.post("/v1/explain?format=png", content=painting), 422, "wrong_parameter")


def test_models_and_health(ask, backend):
    assert ask.get("/v1/models").json() == {
        "models": [{"name": "monet", "default": True}, {"name": "cezanne", "default": False}],
        "explains": True,
        "limits": {"max_bytes": 2**25, "max_pixels": 2**24, "timeout_seconds": 60.0},
    }
    assert ask.get("/health/live").json() == {"status": "live"}
    assert ask.get("/health/ready").json() == {"status": "ready"}
    assert (backend.probes, backend.started) == (1, 1)
    assert ask.get("/health/ready").status_code == 200
    assert backend.probes == 1, "a second question in the same second is answered from memory"


@pytest.mark.parametrize("failure", [Unavailable("actor 1f2e died"), RuntimeError("CUDA error")])
def test_not_ready_while_the_model_fails(backend, ask, failure, caplog):
    backend.failure = failure
    message = check_error(ask.get("/health/ready"), 503, "unavailable")
    assert str(failure) not in message
    assert str(failure) in caplog.text
    assert ask.get("/health/live").status_code == 200


def test_ready_when_the_model_has_its_hands_full(backend, ask):
    backend.failure = Busy(1)
    assert ask.get("/health/ready").status_code == 200


@pytest.mark.parametrize(
    ("failure", "status", "code", "retry"),
    [
        (Busy(3.2), 503, "busy", "4"),
        (Unavailable("secret"), 503, "unavailable", "5"),
        (UnknownModel("gone"), 422, "unknown_model", None),
        (RuntimeError("secret"), 500, "internal", None),
        (asyncio.CancelledError(), 503, "unavailable", "5"),
    ],
)
def test_failures_of_the_model(backend, ask, failure, status, code, retry):
    backend.failure = failure
    answer = ask.post("/v1/translate", content=image_bytes())
    assert "secret" not in check_error(answer, status, code)
    assert answer.headers.get("retry-after") == retry
    backend.failure = None
    assert ask.post("/v1/translate", content=image_bytes()).status_code == 200


@pytest.fixture(scope="module")
def made_hard(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hard")
    write_hard_folder(folder)
    return folder


@pytest.mark.parametrize("name", GOOD)
def test_odd_images_are_translated(ask, made_hard, name):
    assert ask.post("/v1/translate", content=(made_hard / name).read_bytes()).status_code == 200


@pytest.mark.parametrize(("name", "cause"), BAD.items())
def test_bad_files_are_refused_by_their_cause(ask, made_hard, name, cause):
    answer = ask.post("/v1/translate", content=(made_hard / name).read_bytes())
    if cause == "too_small":  # for a bank, not here
        assert answer.status_code == 200
    else:
        check_error(answer, 413 if cause == "too_many_pixels" else 400, cause)
    assert ask.post("/v1/translate", content=image_bytes()).status_code == 200


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json",
        "multipart/mixed; boundary=a",
        "x",
    ],
)
def test_other_content_types_are_refused(ask, kind):
    answer = ask.post("/v1/translate", content=image_bytes(), headers={"Content-Type": kind})
    assert "application/octet-stream" in check_error(answer, 415, "unsupported_type")


def test_a_compressed_body_is_refused(ask):
    answer = ask.post("/v1/translate", content=image_bytes(), headers={"Content-Encoding": "gzip"})
    check_error(answer, 415, "unsupported_type")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("format=tiff", "wrong_parameter"),
        ("format=", "wrong_parameter"),
        ("format=PNG", "wrong_parameter"),
        ("quality=0", "wrong_parameter"),
        ("quality=101", "wrong_parameter"),
        ("quality=best", "wrong_parameter"),
        ("fromat=png", "wrong_parameter"),
        ("model=" + "m" * 300, "wrong_parameter"),
        ("model=manet", "unknown_model"),
        ("model=../../etc/passwd", "unknown_model"),
        ("model=%00%0d%0aSet-Cookie:%20a=b", "unknown_model"),
        ("model=", "unknown_model"),
    ],
)
def test_wrong_parameters(ask, backend, query, code):
    answer = ask.post(f"/v1/translate?{query}", content=image_bytes())
    check_error(answer, 422, code)
    assert "set-cookie" not in answer.headers
    assert backend.started == 0


@pytest.mark.parametrize("path", ["/v1/models?x=1", "/health/live?x=1", "/health/ready?x=1"])
def test_parameters_where_there_are_none(ask, path):
    check_error(ask.get(path), 422, "wrong_parameter")


@pytest.mark.parametrize("path", ["/v2", "/v1/translate/", "/v1/../etc/passwd", "/docs", "/static/%2e%2e/x"])
def test_unknown_addresses(ask, path):
    check_error(ask.get(path, follow_redirects=False), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/translate"), ("POST", "/v1/models"), ("DELETE", "/"), ("TRACE", "/")]
)
def test_wrong_methods(ask, method, path):
    answer = ask.request(method, path)
    check_error(answer, 405, "method_not_allowed")
    assert answer.headers["allow"]


@pytest.mark.parametrize("host", ["evil.example", "a b", "[::1", "x" * 300, "../..", ""])
def test_strange_hosts_change_nothing(ask, host):
    answer = ask.post("/v1/translate", content=image_bytes(), headers={"Host": host})
    assert answer.status_code == 200
    assert not any(host and host in value for value in answer.headers.values())


def test_a_format_that_cannot_hold_so_long_a_side(ask, backend):
    long = io.BytesIO()
    Image.fromarray(make_photo(0, 1, 20_000)).save(long, "PNG")
    message = check_error(
        ask.post("/v1/translate?format=webp", content=long.getvalue()), 422, "wrong_parameter"
    )
    assert "16383" in message
    assert backend.started == 0
    assert ask.post("/v1/translate?format=jpeg", content=long.getvalue()).status_code == 200


def test_requests_have_names_that_clients_cannot_forge(ask):
    names = {ask.get("/health/live").headers["x-request-id"] for _ in range(3)}
    assert len(names) == 3
    for forged in ("a", "x" * 100, "'; drop table --------", "ÿ" * 20):
        got = ask.get("/health/live", headers={"X-Request-ID": forged.encode("latin-1")})
        assert got.headers["x-request-id"] != forged
    given = "0123456789abcdef-from-a-proxy"
    assert ask.get("/health/live", headers={"X-Request-ID": given}).headers["x-request-id"] == given


def test_the_page_may_load_nothing_from_elsewhere(ask):
    answer = ask.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    rules = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert "unsafe" not in str(rules)
    assert "http" not in str(rules)
    assert " style=" not in answer.text.split("<script>")[0]
    assert answer.headers["x-content-type-options"] == "nosniff"
