"""Checks that refuse what schemas let pass: keys that nobody knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def closed(schema: Any) -> Any:
    """A JSON schema that also refuses keys it does not name, wherever it names any."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: closed(value) for key, value in schema.items()}
    # A property may be called "properties": then it is no schema's keyword.
    if isinstance(schema.get("properties"), dict) and "type" in schema and isinstance(schema["type"], str):
        strict.setdefault("additionalProperties", False)
    return strict


def unknown_keys(given: Any, known: Any, at: str = "") -> Iterator[str]:
    """Keys of `given` that are not in `known`, what a schema has made of it; by their places."""
    if isinstance(given, dict) and isinstance(known, dict):
        for key, value in given.items():
            yield from [f"{at}.{key}"] if key not in known else unknown_keys(value, known[key], f"{at}.{key}")
    elif isinstance(given, list):
        for number, (one, other) in enumerate(zip(given, known, strict=True)):
            yield from unknown_keys(one, other, f"{at}[{number}]")
