"""Features as points of a plane: the two greatest principal components, and t-SNE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Components that t-SNE works on, as in the paper's own experiments with deep features.
_COMPONENTS = 50
_PERPLEXITY = 30.0


@dataclass(frozen=True)
class Components:
    """Rows in the coordinates of their greatest principal components."""

    points: np.ndarray
    """float64 `[N, K]`, centred, the greatest component first."""
    explained: np.ndarray
    """Shares of the whole variance, `[K]`; all zero where the rows are all the same."""


@dataclass(frozen=True)
class Neighbourhoods:
    """A t-SNE. Only who is near whom has a meaning: neither directions nor long distances have one."""

    points: np.ndarray
    """float64 `[N, 2]`."""
    perplexity: float
    """Number of neighbours, about, that each point is kept near to."""


def principal_components(features: np.ndarray, *, seed: int, count: int = _COMPONENTS) -> Components:
    """The greatest principal components of `[N, D]` features, N three at least.

    Of more than 500 rows or dimensions they are found by a randomised method (Halko et al., "Finding
    structure with randomness", 2011), which is right to many more digits than a picture shows.

    Args:
        features: rows `[N, D]`.
        seed: of the randomised method.
        count: components; fewer where N or D is.
    """
    from sklearn.decomposition import PCA

    rows = np.asarray(features, np.float64)
    rows = rows - rows.mean(0)
    count = min(count, len(rows) - 1, rows.shape[1])
    if not rows.any():
        return Components(np.zeros((len(rows), count)), np.zeros(count))
    pca = PCA(count, random_state=seed)
    return Components(pca.fit_transform(rows), pca.explained_variance_ratio_)


def tsne(components: Components, *, seed: int, perplexity: float = _PERPLEXITY) -> Neighbourhoods:
    """Neighbours near each other: van der Maaten and Hinton, "Visualizing data using t-SNE", 2008.

    It begins at the two greatest components, so that what is far apart in them begins far apart (Kobak and
    Berens, "The art of using t-SNE for single-cell transcriptomics", 2019). It works in one thread: several
    add up in an order that changes, and the picture with it.

    Args:
        components: of the rows, see `principal_components`.
        seed: of what is random in it.
        perplexity: made smaller for fewer rows, at most a third of the others.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    rows = components.points
    perplexity = min(perplexity, (len(rows) - 1) / 3)
    if not rows.any():
        return Neighbourhoods(np.zeros((len(rows), 2)), perplexity)
    with threadpool_limits(1):
        found = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(rows)
    return Neighbourhoods(found.astype(np.float64), perplexity)
