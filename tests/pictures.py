"""Images that the tests make themselves: natural enough to compress, decode and search like photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter


def make_photo(seed: int, height: int = 64, width: int = 64) -> np.ndarray:
    """A smooth random scene with edges and grain, uint8 `[height, width, 3]`, the same for the same seed."""
    random = np.random.default_rng(seed)
    scene = gaussian_filter(random.normal(size=(height, width, 3)), (6, 6, 0))
    edges = np.sign(gaussian_filter(random.normal(size=(height, width)), 4))[..., None]
    scene = scene / scene.std() * 45 + edges * random.normal(size=3) * 18 + random.uniform(70, 180, size=3)
    return np.clip(scene + random.normal(size=scene.shape) * 3, 0, 255).astype(np.uint8)


def write_photos(folder: Path, count: int, *, height: int = 64, width: int = 64, seed: int = 0) -> list[Path]:
    """Writes `count` JPEG photos into `folder` and returns their paths, sorted by name."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"photo-{number:03d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(make_photo(seed + number, height, width)).save(path, quality=92)
    return paths
