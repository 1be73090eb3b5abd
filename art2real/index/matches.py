"""The real patches nearest to those of an image, the image put together from them, and their photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from art2real.core.patches import extract, to_signed
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.index.protocol import Retriever
from art2real.index.rebuild import rebuild

# Patches of less contrast than this share of an image's patches show nothing that could be compared.
_PLAIN_SHARE = 0.7
# Photos named as those most drawn from.
MOST_PHOTOS = 5


@dataclass(frozen=True)
class Neighbour:
    """A real patch: its row, how similar it is (cosine, 1 at best), and where it was cut from."""

    row: int
    similarity: float
    photo: int
    source: str
    attribution: str | None
    y: int
    x: int
    pixels: np.ndarray
    """uint8 `[size, size, 3]`."""


@dataclass(frozen=True)
class Match:
    """A patch of the image and its nearest real patches, nearest first."""

    y: int
    x: int
    pixels: np.ndarray
    """uint8 `[size, size, 3]`."""
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True)
class DrawnPhoto:
    """A photo of the bank that holds the nearest real patch of some of an image's patches."""

    photo: int
    source: str
    licence: str | None
    attribution: str | None
    patches: int
    """Of the image, whose nearest real patch lies in it."""
    share: float
    """Of all patches of the image."""


@dataclass(frozen=True)
class ScaleMatches:
    """What was found at one scale of a bank with `rows` patches."""

    scale: Scale
    rows: int
    matches: tuple[Match, ...]
    """Of a few patches of the image."""
    rebuilt: np.ndarray
    """uint8 `[h, w, 3]`: the image from the nearest real patch of each of its patches (see
    `art2real.index.rebuild.rebuild`)."""
    photos: tuple[DrawnPhoto, ...]
    """The up to `MOST_PHOTOS` that most of these patches come from, most first."""
    photos_used: int
    """How many photos these patches come from."""


def find_matches(
    bank: MemoryBank,
    image: np.ndarray,
    retrievers: Mapping[Scale, Retriever],
    *,
    patches: int = 4,
    k: int = 5,
    seed: int = 0,
) -> list[ScaleMatches]:
    """Looks up the patches of an image at each scale: the nearest one of all, more for a few.

    Args:
        image: uint8 `[H, W, 3]`, of the bank's image size so that things are as large as in its photos.
        retrievers: by scale; scales that the image is too small for are left out.
        patches: chosen at each scale: contrasty ones, spread over the image.
        k: neighbours of each; fewer where the bank has fewer.
        seed: decides the first patch chosen.
    """
    found = []
    signed = to_signed(torch.from_numpy(image.astype(np.uint8))).permute(2, 0, 1)[None]
    for scale, retriever in retrievers.items():
        y, x = scale.positions(*image.shape[:2])
        if len(y) == 0:
            continue
        vectors = extract(signed, scale.size, scale.stride)[0].numpy()
        chosen = choose_patches(vectors, np.stack([y, x], axis=1), patches, seed)
        scores, rows = retriever.search(vectors[chosen], k)
        matches = tuple(
            Match(
                y=int(y[place]),
                x=int(x[place]),
                pixels=image[y[place] : y[place] + scale.size, x[place] : x[place] + scale.size],
                neighbours=_neighbours(bank, scale, scores[number], rows[number]),
            )
            for number, place in enumerate(chosen)
        )
        nearest = retriever.search(vectors, 1)[1][:, 0]
        rebuilt = _rebuilt(bank, scale, nearest, image.shape[:2])
        photos, used = _drawn_from(bank, scale, nearest)
        found.append(ScaleMatches(scale, bank.rows(scale), matches, rebuilt, photos, used))
    return found


def choose_patches(vectors: np.ndarray, places: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Numbers of up to `count` patches with much contrast and far from each other, int64.

    Args:
        vectors: `[N, D]`. places: `[N, 2]` their y and x.
    """
    random = np.random.default_rng(seed)
    # Inside each channel: a plain patch of a strong colour is plain.
    contrast = vectors.reshape(len(vectors), 3, -1).std(axis=2).mean(axis=1)
    worth = np.where(contrast >= np.quantile(contrast, _PLAIN_SHARE), contrast, 0) + 1e-6
    chosen = [int(random.choice(len(worth), p=worth / worth.sum()))]
    # Farther than this is far enough; without a limit corners would be chosen for being corners.
    distance = np.full(len(vectors), np.ptp(places, axis=0).max() / 3)
    while len(chosen) < min(count, len(vectors)):
        distance = np.minimum(distance, np.linalg.norm(places - places[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(distance * worth)))
    return np.sort(np.array(chosen))


def _neighbours(
    bank: MemoryBank, scale: Scale, scores: np.ndarray, rows: np.ndarray
) -> tuple[Neighbour, ...]:
    rows = rows[rows >= 0]
    pixels = bank.patches(scale, rows)
    located = zip(*bank.locate(scale, rows), strict=True)
    neighbours = []
    for number, (photo, y, x) in enumerate(located):
        record = bank.photos[int(photo)]
        neighbours.append(
            Neighbour(
                row=int(rows[number]),
                similarity=float(scores[number]),
                photo=int(photo),
                source=record.source,
                attribution=record.attribution,
                y=int(y),
                x=int(x),
                pixels=pixels[number],
            )
        )
    return tuple(neighbours)


def _rebuilt(bank: MemoryBank, scale: Scale, nearest: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    known = nearest >= 0
    patches = np.zeros((len(nearest), scale.size, scale.size, 3), np.uint8)
    patches[known] = bank.patches(scale, nearest[known])
    return rebuild(patches, known, scale, *shape)


def _drawn_from(bank: MemoryBank, scale: Scale, nearest: np.ndarray) -> tuple[tuple[DrawnPhoto, ...], int]:
    """The photos that most of the rows `[N]` (-1: none) come from, and how many photos they come from."""
    photos, counts = np.unique(bank.locate(scale, nearest[nearest >= 0])[0], return_counts=True)
    drawn = []
    for place in np.argsort(-counts, kind="stable")[:MOST_PHOTOS]:
        record = bank.photos[int(photos[place])]
        drawn.append(
            DrawnPhoto(
                photo=int(photos[place]),
                source=record.source,
                licence=record.licence,
                attribution=record.attribution,
                patches=int(counts[place]),
                share=float(counts[place]) / len(nearest),
            )
        )
    return tuple(drawn), len(photos)


def as_data(found: list[ScaleMatches]) -> list[dict[str, Any]]:
    """For JSON: everything but the pixels."""
    return [
        {
            "size": each.scale.size,
            "stride": each.scale.stride,
            "rows": each.rows,
            "patches": [
                {
                    "y": match.y,
                    "x": match.x,
                    "neighbours": [
                        {
                            "row": neighbour.row,
                            "similarity": round(neighbour.similarity, 6),
                            "photo": neighbour.photo,
                            "source": neighbour.source,
                            "attribution": neighbour.attribution,
                            "y": neighbour.y,
                            "x": neighbour.x,
                        }
                        for neighbour in match.neighbours
                    ],
                }
                for match in each.matches
            ],
            "photos_used": each.photos_used,
            "photos": [{**asdict(photo), "share": round(photo.share, 6)} for photo in each.photos],
        }
        for each in found
    ]
