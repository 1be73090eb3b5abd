"""Nearest-neighbour search over the patches of a memory bank."""

from art2real.index.protocol import Retriever

__all__ = ["Retriever"]
