"""A folder tree, whole or what a pattern names of it, as a source of photos."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from art2real.data.sources.entry import Entry
from art2real.data.sources.folders import Item, Root
from art2real.data.sources.names import named_like_image, suffix
from art2real.data.sources.patterns import Pattern, State
from art2real.data.sources.remote import reason
from art2real.data.sources.tars import SHARD_SUFFIX, Shard
from art2real.errors import UserError

_EVERYTHING = Pattern(["**"])


class Tree:
    """The images below a folder, and the members of the .tar shards there, in the order of their paths.

    A file is an image if it has the name of one or, whatever its name, begins like one. Each folder is read
    once, however many links lead to it.
    """

    def __init__(
        self,
        root: Root,
        *,
        pattern: Pattern | None = None,
        origin: str | None = None,
        open_shards: bool = True,
        anonymous: bool = False,
    ) -> None:
        """
        Args:
            root: where the tree is.
            pattern: which of its files are meant; None: all.
            origin: what to call the source; None: the root.
            open_shards: whether .tar files are looked into; otherwise they are no images.
            anonymous: whether shards of an object store are read without credentials.
        """
        self.origin = origin or root.origin
        self.not_images = 0
        self.unreadable: list[tuple[str, str]] = []
        self._root = root
        self._pattern = pattern
        self._open_shards = open_shards
        self._anonymous = anonymous

    def entries(self) -> Iterator[Entry]:
        self.not_images = 0
        self.unreadable = []
        nothing = True
        for path, item in self._files():
            nothing = False
            if self._is_shard(item):
                shard = Shard(self._root.file(path), path, within=True, anonymous=self._anonymous)
                yield from shard.entries()
                self.not_images += shard.not_images
                self.unreadable += shard.unreadable
            elif item.kind == "file" and self._is_image(path):
                yield Entry(path, self._root.file(path), item.bytes)
            else:
                self.not_images += 1
        if nothing and self._pattern is not None:
            raise UserError(f"{self.origin}: nothing matches{self._because()}; check the pattern")

    def _files(self) -> Iterator[tuple[str, Item]]:
        """All that is no folder and matches, depth first."""
        pattern = self._pattern or _EVERYTHING
        seen: set[Hashable] = set()
        # A stack rather than recursion: a path may have more folders than Python has frames.
        open_folders = [("", pattern.start, iter(self._items("", seen)))]
        while open_folders:
            folder, state, items = open_folders[-1]
            item = next(items, None)
            if item is None:
                open_folders.pop()
                continue
            path = folder + item.name
            if item.kind == "unreadable":
                self._cannot_read(path, item.why)
                continue
            after: State = pattern.step(state, item.name)
            if item.kind == "folder":
                if after:
                    open_folders.append((path + "/", after, iter(self._items(path + "/", seen))))
            elif pattern.matches(after):
                yield path, item

    def _items(self, folder: str, seen: set[Hashable]) -> list[Item]:
        """What a folder holds, sorted so that all paths come out sorted; nothing if it was there before."""
        try:
            key = self._root.key(folder)
            if key is None or key in seen:
                return []
            seen.add(key)
            items = self._root.items(folder)
        except OSError as error:
            self._cannot_read(folder, reason(error))
            return []
        return sorted(items, key=self._sort_key)

    def _sort_key(self, item: Item) -> str:
        return item.name + "/" if item.kind == "folder" or self._is_shard(item) else item.name

    def _is_shard(self, item: Item) -> bool:
        return self._open_shards and item.kind == "file" and suffix(item.name) == SHARD_SUFFIX

    def _is_image(self, path: str) -> bool:
        return named_like_image(path) or self._root.begins_like_image(path, named=self._pattern is not None)

    def _cannot_read(self, path: str, why: str) -> None:
        self.unreadable.append((path.rstrip("/") or ".", why))

    def _because(self) -> str:
        return f" ({self.unreadable[0][0]}: {self.unreadable[0][1]})" if self.unreadable else ""
