"""What /openapi.json says besides what the functions' own types say."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from art2real.serving.body import FIELD
from art2real.serving.problems import CODES
from art2real.serving.settings import ServiceSettings

_BINARY = {"type": "string", "format": "binary"}
_BODY = {
    "required": True,
    "content": {
        "image/*": {"schema": _BINARY},
        "application/octet-stream": {"schema": _BINARY},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {FIELD: _BINARY},
                "additionalProperties": False,
            }
        },
    },
}
_SAID = {
    400: "not an image, a damaged one, or a form that cannot be read",
    401: "the token is missing or wrong",
    404: "there is nothing at this address, or no memory bank to explain with",
    405: "this address takes another method",
    408: "the body did not arrive in time; the connection is closed",
    413: "too many bytes, or too many pixels",
    415: "the Content-Type is not taken, or the body is compressed",
    422: "a parameter is wrong or unknown, or there is no such model",
    500: "the service failed on this request",
    503: "full, too slow, or the model is not available; Retry-After says when to come again",
}
_HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    405: {"Allow": {"schema": {"type": "string"}}},
    503: {"Retry-After": {"description": "in seconds", "schema": {"type": "integer", "minimum": 1}}},
}
_TIMING = {"Server-Timing": {"description": "stages, in ms", "schema": {"type": "string"}}}


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {
            "description": f"{_SAID[status]} (codes: {', '.join(CODES[status])})",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            "headers": _HEADERS.get(status, {}),
        }
        for status in statuses
    }


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


_NUMBER, _TEXT, _FLAG = {"type": "number"}, {"type": "string"}, {"type": "boolean"}
_MODELS = _object(
    models={"type": "array", "items": _object(name=_TEXT, default=_FLAG)},
    explains=_FLAG,
    limits=_object(max_bytes=_NUMBER, max_pixels=_NUMBER, timeout_seconds=_NUMBER),
)
_WHOLE = {"type": "integer"}
_LIST: dict[str, Any] = {"type": "array", "items": {"type": "object"}}
_EXPLANATION = _object(
    width=_WHOLE,
    height=_WHOLE,
    grid=_object(side=_WHOLE, rows=_WHOLE, columns=_WHOLE),
    neighbour_fields={"type": "array", "items": _TEXT},
    square_size=_WHOLE,
    scales=_LIST,
    squares=_LIST,
    photos=_LIST,
)


def _json(description: str, schema: dict[str, Any], headers: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": schema}},
        "headers": headers or {},
    }


TRANSLATE: dict[str, Any] = {
    "openapi_extra": {"requestBody": _BODY},
    "responses": {
        200: {
            "description": "the translation, of the size of the upright painting",
            "content": {f"image/{name}": {"schema": _BINARY} for name in ("png", "jpeg", "webp")},
            "headers": _TIMING,
        },
        **_errors(400, 408, 413, 415, 422, 500, 503),
    },
    "response_model": None,
}
EXPLAIN: dict[str, Any] = {
    "openapi_extra": {"requestBody": _BODY},
    "responses": {
        200: _json("the nearest real patches of each region at each scale", _EXPLANATION, _TIMING),
        **_errors(400, 404, 408, 413, 415, 422, 500, 503),
    },
    "response_model": None,
}
MODELS: dict[str, Any] = {
    "responses": {200: _json("the models and limits", _MODELS), **_errors(422, 500, 503)},
    "response_model": None,
}
LIVE: dict[str, Any] = {
    "responses": {200: _json("it runs", _object(status=_TEXT)), **_errors(422)},
    "response_model": None,
}
READY: dict[str, Any] = {
    "responses": {200: _json("it translates", _object(status=_TEXT)), **_errors(422, 500, 503)},
    "response_model": None,
}


def describe(app: FastAPI, settings: ServiceSettings) -> dict[str, Any]:
    """The description of the service; made once."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    schema = get_openapi(
        title=app.title,
        version=app.version,
        description='Paintings into photo-realistic images. Every error is `{"error": {"code", "message"}}`.',
        routes=app.routes,
    )
    # The answers are described here, not by types: what the framework made up for them is replaced.
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    schemas["Error"] = _object(error=_object(code=_TEXT, message=_TEXT))
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            if path.startswith("/v1/") and settings.token is not None:
                operation["security"] = [{"bearer": []}]
                operation["responses"].update({str(key): value for key, value in _errors(401).items()})
            for answer in operation["responses"].values():
                answer["headers"]["X-Request-ID"] = {"schema": _TEXT}
    if settings.token is not None:
        schema["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    app.openapi_schema = schema
    return schema
