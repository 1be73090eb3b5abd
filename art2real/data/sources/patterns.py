"""Patterns of paths: `*`, `?` and `[...]` within a name, `**` for any number of folders."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence

State = frozenset[int]
"""The parts of a pattern that the next name of a path may match."""


class Pattern:
    """A pattern that follows a path name by name, so that folders that cannot match are never listed."""

    def __init__(self, parts: Sequence[str]) -> None:
        self._parts = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts]
        self.start = self._reached([0])

    def step(self, state: State, name: str) -> State:
        """The state after one more name of the path; empty: no path that goes on so can match."""
        after = []
        for at in state:
            if at == len(self._parts):
                continue
            part = self._parts[at]
            if part is None:
                after.append(at)
            elif part.match(name):
                after.append(at + 1)
        return self._reached(after)

    def matches(self, state: State) -> bool:
        """Whether the path that led to a state matches as a whole."""
        return len(self._parts) in state

    def _reached(self, places: Iterable[int]) -> State:
        reached = set()
        for at in places:
            reached.add(at)
            while at < len(self._parts) and self._parts[at] is None:  # `**` may stand for no folder at all
                at += 1
                reached.add(at)
        return frozenset(reached)


def has_magic(text: str, signs: str = "*?[") -> bool:
    return any(sign in text for sign in signs)


def split_pattern(text: str) -> tuple[str, list[str]]:
    """The folder before the first name with a sign of patterns, and the names from there on.

    A slash at the end stands for all files below the folders that match.
    """
    names = text.split("/")
    if not names[-1]:
        names[-1] = "**"
    first = next(at for at, name in enumerate(names) if has_magic(name))
    folder = "/".join(names[:first]) or ("/" if first else ".")
    return folder, [name for name in names[first:] if name not in ("", ".")]
