"""Options that give things names: NAME=PATH."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from art2real.errors import UsageError


def parse_named(texts: Sequence[str], option: str, default: str) -> dict[str, str]:
    """`NAME=PATH` each, or one `PATH` alone, which is called `default`.

    A path with an equals sign in it that exists is a path.

    Raises:
        UsageError: a name is missing, empty, no name (with a slash or a control character), or given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or Path(text).exists():
            if len(texts) > 1:
                raise UsageError(f"{option} {text}: write NAME={text} where there are several")
            return {default: text}
        name = name.strip()
        if not name or not path or not name.isprintable() or "/" in name or name in (".", ".."):
            raise UsageError(
                f'{option} {text}: write NAME=PATH, for example "{default}={path or "runs/0001"}"'
            )
        if name in found:
            raise UsageError(f"{option} {name} is given twice: {found[name]} and {path}")
        found[name] = path
    return found
