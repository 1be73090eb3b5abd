"""Features of sets that nobody looked at: drawn from Gaussians whose distance is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from art2real.evaluation.features import Features
from art2real.evaluation.weights import Weights

DIMENSIONS = {"2048": 48, "768": 24, "192": 8}


def made_features(name, count, *, shift=0.0, seed=0, formats=None):
    """Gaussians of deviation 1 around `shift`, fewer dimensions than Inception has."""
    rng = np.random.default_rng(seed)
    return Features(
        name=name,
        place=f"images/{name}",
        images=tuple(f"{at:04}.png" for at in range(count)),
        skipped=(),
        levels={
            level: (rng.normal(size=(count, size)) + shift).astype(np.float32)
            for level, size in DIMENSIONS.items()
        },
        settings={
            "image_size": 299,
            "resize": "antialiased bicubic",
            "formats": formats or {"PNG": count},
        },
    )


def weights(published=True):
    return Weights("inception", Path("inception.safetensors"), "0123456789abcdef" * 4, published)
