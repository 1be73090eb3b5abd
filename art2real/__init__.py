"""art2real: turns paintings into photo-realistic images, with retrieval of real photo patches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load_generator"]

if TYPE_CHECKING:
    from art2real.translation.weights import load_generator


def __getattr__(name: str) -> Any:
    # Loading torch takes seconds; `art2real-cli --help` must not wait for it.
    if name == "load_generator":
        from art2real.translation.weights import load_generator

        return load_generator
    raise AttributeError(f"module 'art2real' has no attribute {name!r}")
