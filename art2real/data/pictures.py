"""Saves pictures that the software draws."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from PIL import Image

from art2real.data.manifest import temporary_name
from art2real.errors import UserError


def save_picture(picture: Image.Image, path: Path) -> None:
    """Writes a PNG that is there whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(temporary, format="PNG", optimize=True)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise UserError(f"picture {path} cannot be written: {error.strerror or error}") from None
