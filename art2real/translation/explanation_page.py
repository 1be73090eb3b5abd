"""One HTML page that shows a painting, its translation, and the real photos behind each region of it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from art2real.data.corpus import printable
from art2real.pages.page import render
from art2real.translation.explain import Explanation
from art2real.translation.explanation_data import picture_uri

# Longest side that a picture is embedded with, and the most pixels that it is kept lossless with.
_SHOWN, _LOSSLESS = 1024, 2**18


def explanation_page(
    explanation: Explanation,
    painting: np.ndarray,
    translation: np.ndarray,
    *,
    name: str,
    checkpoint: str,
) -> str:
    """The page as text: it needs nothing from outside, and its size is bounded whatever the picture's.

    Args:
        explanation: of the translation.
        painting, translation: uint8 `[H, W, 3]`, of one size.
        name: what the painting is called.
        checkpoint: where the generator came from.
    """
    grid, bank = explanation.regions, explanation.bank
    values = {
        "name": printable(name),
        "checkpoint": printable(checkpoint),
        "bank": printable(str(bank.path)),
        "bank_photos": bank.manifest.photos,
        "origins": list(dict.fromkeys(printable(each.origin) for each in bank.manifest.inputs)),
        "width": grid.width,
        "height": grid.height,
        "ratio": grid.width / grid.height,
        "regions": grid.count,
        "side": grid.side,
        "painting": _shown(painting),
        "translation": _shown(translation),
        "explanation": json_in_page(explanation.to_dict(pictures=True)),
    }
    return render("art2real.translation", "explanation.html.j2", values)


def json_in_page(data: Any) -> Markup:
    """JSON for a `<script type="application/json">`: nothing in it can end the element or mean HTML."""
    text = json.dumps(data, separators=(",", ":"))  # ASCII alone
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _shown(pixels: np.ndarray) -> str:
    height, width = pixels.shape[:2]
    ratio = min(1, _SHOWN / max(height, width))
    if ratio == 1 and height * width <= _LOSSLESS:
        return picture_uri(pixels, "PNG")
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    smaller = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)
    return picture_uri(np.asarray(smaller), "JPEG", quality=90)
