"""An image that a user names, as a bank would store it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from art2real.errors import UserError

if TYPE_CHECKING:
    import numpy as np


def read_square(file: Path, side: int) -> np.ndarray:
    """The centre of an image, scaled to `side` pixels: uint8 `[side, side, 3]`.

    Raises:
        UserError: the file is missing or no image that can be used.
    """
    from art2real.data.images import BadImage, decode, square

    try:
        return square(decode(file), side)
    except BadImage as error:
        raise UserError(f"image {file} cannot be used: {error}") from None
