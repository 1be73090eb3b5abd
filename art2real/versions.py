"""Which versions made a result."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable

from art2real import __version__


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of art2real, Python and those of the packages that are installed, by name."""
    found = {"art2real": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
