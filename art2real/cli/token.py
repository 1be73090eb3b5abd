"""Secrets that a command is given by a file or the environment, never by an argument, which all can see."""

from __future__ import annotations

import os
from pathlib import Path

from art2real.errors import UserError


def read_token(file: Path | None, option: str, variable: str) -> str | None:
    """What the file holds; without a file, the environment variable; None: neither.

    Raises:
        UserError: the file cannot be read or is empty.
    """
    if file is None:
        return os.environ.get(variable) or None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise UserError(f"{option} {file} cannot be read: {error}") from None
    if not token:
        raise UserError(f"{option} {file} is empty; write the token into it")
    return token
