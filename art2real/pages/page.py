"""Pages that are one file: templates, and pictures inside of them."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from PIL import Image


def render(package: str, template: str, values: dict[str, Any], **filters: Any) -> str:
    """A page from a template of a package, which may extend `base.html.j2`; all values are escaped.

    Args:
        package: full name of the Python package beside whose modules the template lies.
        template: its file.
        values: what the template shows; one that it names and is not there is an error.
        filters: functions that it may put values through.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader("art2real.pages", ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.get_template(template).render(values)


def data_uri(pixels: np.ndarray | Image.Image) -> str:
    """A picture (uint8 `[H, W, 3]`) as a PNG inside of the page."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    out = io.BytesIO()
    image.save(out, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
