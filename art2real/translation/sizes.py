"""Sizes of images from the beginnings of their files, to plan work with."""

from __future__ import annotations

import io

from PIL import Image

from art2real.data.images import FORMATS
from art2real.data.sources import Entry
from art2real.data.sources.places import is_local
from art2real.data.sources.remote import opened
from art2real.translation.pixels import padded_size

_HEAD_BYTES = 2**16


def planned_size(entry: Entry) -> tuple[int, int] | None:
    """Height and width that a generator sees of an image, as far as its header tells: an orientation in its
    metadata may turn it. None: it is remote, or tells nothing."""
    if not is_local(entry.file):
        return None
    try:
        with opened(entry.file, anonymous=False) as (file, _):
            if entry.offset is not None:
                file.seek(entry.offset)
                file = io.BytesIO(file.read(_HEAD_BYTES))
            with Image.open(file, formats=FORMATS) as image:
                return padded_size(image.height, image.width)
    except Exception:  # whoever decodes it says what is wrong with it
        return None
