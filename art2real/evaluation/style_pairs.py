"""Which photo gets the style of which painting, and the record of it: `pairs.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from pydantic import Field, ValidationError, field_validator

from art2real.data.manifest import Model, digest
from art2real.errors import UserError

PAIRS = "pairs.json"
FORMAT_VERSION = 1


# The authors' own code, put in terms of eqs. 1 and 4 with w_l = 1/5 and images of 256x256 pixels, weighs the
# layers by 2e4 (conv4_1, conv5_1) to 1.3e6 (conv1_1): this is the geometric mean of all five. Eq. 1 is a sum
# over positions: images of twice the side need four times as much for the same balance.
_STYLE_WEIGHT = 1e5


class StyleSettings(Model):
    """What, beside the images and the network, decides the results."""

    size: int = Field(256, ge=16, le=2048, description="shorter side of the results, pixels")
    steps: int = Field(300, ge=1, le=100_000, description="iterations of L-BFGS")
    style_weight: float = Field(
        _STYLE_WEIGHT, gt=0, description="beta / alpha: weight of the style loss, that of the content being 1"
    )
    seed: int = Field(0, ge=0, description="of the pairing")


class Pair(Model):
    """A photo, the painting whose style it gets, and the result: POSIX paths relative to their folders."""

    content: str
    style: str
    result: str

    @field_validator("result")
    @classmethod
    def _inside(cls, result: str) -> str:
        # It is what --overwrite removes.
        path = PurePosixPath(result)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{result} is not inside of the folder")
        return result


class LeftOut(Model):
    """A painting that cannot be used."""

    style: str
    reason: str


class Pairs(Model):
    """`pairs.json`: written before the first image is made."""

    format_version: int = FORMAT_VERSION
    versions: dict[str, str] = Field(description="of art2real and the libraries that it was begun with")
    settings: StyleSettings
    weights_sha256: str = Field(description="of VGG-19")
    published: bool = Field(description="whether these are the published weights")
    content: str = Field(description="the folder of photos, as it was named")
    style: str = Field(description="the folder of paintings, as it was named")
    content_sha256: str = Field(description="of the names and sizes of the photos")
    style_sha256: str = Field(description="of the names and sizes of the paintings")
    left_out: tuple[LeftOut, ...]
    pairs: tuple[Pair, ...]

    def difference(self, other: Pairs) -> str | None:
        """The first thing that another call asks for differently, in words; None if it asks for the same."""
        for name in StyleSettings.model_fields:
            mine, theirs = getattr(self.settings, name), getattr(other.settings, name)
            if mine != theirs:
                return f"--{name.replace('_', '-')} {mine}, not {theirs}"
        for name, what in (
            ("weights_sha256", "other weights"),
            ("content_sha256", "other photos"),
            ("style_sha256", "other paintings"),
        ):
            if getattr(self, name) != getattr(other, name):
                return what
        return None


def pair_up(contents: Sequence[str], styles: Sequence[str], seed: int) -> list[Pair]:
    """Gives every photo a painting: all paintings in a random order, then all in another, and so on.

    So each is used as often as any other, or once more. The same for the same lists and seed.
    """
    random = np.random.default_rng(seed)
    cycles = -(-len(contents) // len(styles))
    order = np.concatenate([random.permutation(len(styles)) for _ in range(cycles)])
    return [
        Pair(content=content, style=styles[number], result=result)
        for content, number, result in zip(
            contents, order[: len(contents)], result_names(contents), strict=True
        )
    ]


def result_names(contents: Iterable[str]) -> list[str]:
    """The photos' own names with the suffix .png; where two would be the same, later ones get a number."""
    taken: set[str] = set()
    names = []
    for content in contents:
        wanted = unique = PurePosixPath(content).with_suffix(".png")
        number = 2
        while str(unique) in taken:
            unique, number = wanted.with_stem(f"{wanted.stem}-{number}"), number + 1
        taken.add(str(unique))
        names.append(str(unique))
    return names


def listing_sha256(folder: Path, names: Iterable[str]) -> str:
    """SHA-256 of the names and sizes of files below a folder."""
    return digest(f"{name} {_size(folder / name)}" for name in names)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it says why when it is read
        return -1


def read_pairs(out: Path) -> Pairs | None:
    """The record of a folder of results; None if it has none.

    Raises:
        UserError: it is damaged, or of another version of the format.
    """
    path = out / PAIRS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format_version"] != FORMAT_VERSION:
            raise UserError(
                f"{path}: format version {content['format_version']} is not known; choose another --out"
            )
        return Pairs.model_validate(content)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValidationError, ValueError, TypeError, KeyError):
        raise UserError(f"{path}: damaged; choose another --out, or remove that folder") from None
