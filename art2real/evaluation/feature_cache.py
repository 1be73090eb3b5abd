"""Features on disk, so that a set of images is put through a network once.

```
CACHE/<key>/
  part-00000.safetensors   features and names of the usable images of one task, with a checksum of their own
  ...
  manifest.json            what it is the features of; written last
```

The key names all that decides the features. Parts are written under a temporary name and renamed, so that an
extraction that was killed goes on where it was, and two at once do each other no harm.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from art2real.data.manifest import digest, temporary_name, write_text
from art2real.errors import UserError
from art2real.evaluation.feature_part import FeaturePart
from art2real.evaluation.feature_task import FeatureTask, SetFile
from art2real.evaluation.networks import NETWORKS
from art2real.evaluation.weights import Weights

# To be raised when the same files give other features: another decoder, resizer or preparation.
FORMAT_VERSION = 1
RESIZE = "antialiased bicubic, shorter side, centre"


def default_cache() -> Path:
    """`~/.cache/art2real/features`, or below `$XDG_CACHE_HOME`."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path.home() / ".cache"  # noqa: PTH117 - "" is no path
    return base / "art2real/features"


def content_hash(files: list[SetFile]) -> str:
    """SHA-256 that names a set by its files' names and contents, in order."""
    return digest(f"{file.sha256 or file.reason}\n{file.name}" for file in files)


class CacheEntry:
    """The features of one set by one network, as far as they are stored."""

    def __init__(self, cache: Path, weights: Weights, content_sha256: str) -> None:
        """
        Raises:
            UserError: the folder cannot be made.
        """
        network = NETWORKS[weights.network]
        settings = (FORMAT_VERSION, network.name, network.image_size, RESIZE, weights.sha256, content_sha256)
        self.folder = cache / digest(map(str, settings))
        self._cache = cache
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from None

    def read(self, task: FeatureTask) -> FeaturePart | None:
        """The stored part of a task; None if it is missing or damaged."""
        try:
            part = FeaturePart.from_bytes(self._path(task.number).read_bytes())
        except (OSError, ValueError):
            return None
        levels = NETWORKS[task.weights.network].levels
        shapes = {level: (len(part.images), size) for level, size in levels.items()}
        whole = (
            part.number == task.number
            and len(part.images) + len(part.skipped) == len(task.files)
            and {level: values.shape for level, values in part.levels.items()} == shapes
        )
        return part if whole else None

    def write(self, part: FeaturePart) -> None:
        """Stores a part.

        Raises:
            UserError: it cannot be written.
        """
        path = self._path(part.number)
        temporary = temporary_name(path)
        try:
            temporary.write_bytes(part.to_bytes())
            temporary.replace(path)
        except OSError as error:
            raise self._unwritable(error) from None
        finally:
            temporary.unlink(missing_ok=True)

    def finish(self, record: dict[str, Any]) -> None:
        """Says what the parts are the features of, when all are there.

        Raises:
            UserError: it cannot be written.
        """
        try:
            write_text(self.folder / "manifest.json", json.dumps(record, indent=1) + "\n")
        except OSError as error:
            raise self._unwritable(error) from None

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.safetensors"

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"{self._cache}: features cannot be stored: {error.strerror}; name another folder with --cache"
        )
