"""The demo's images: photos, paintings, and the true photo behind every painting.

Every source photo is cut into columns that do not overlap. Photos come from some of them, paintings from
others, and the paintings of the report from columns that training never sees: no pixel of a painting is in
the bank or among the training photos.

All images hang in the same narrow frame. Instance normalisation takes the mean and the contrast out of an
image before the generator sees it, so that in a small picture of a plain sky nothing is left that tells noon
from night; the black and the white of the frame give it back what absolute colours are. What is shown and
measured in the end is the picture without its frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from art2real.data.corpus import list_images
from art2real.data.images import BadImage, decode, square
from art2real.demo.painter import paint
from art2real.errors import UserError

# What the columns of a photo are for, from left to right. The held-out column lies between two others, so
# that it shows what the training images show, from another place.
COLUMNS = ("photo", "painting", "held_out", "photo")
# Most images of each kind. More would not be seen often enough in the few minutes of a demo.
PHOTOS, PAINTINGS, HELD_OUT = 360, 180, 30
# Most files that are taken of a user's folder, evenly spread over it, and those kept for the report.
USER_IMAGES, USER_HELD_OUT = 600, 12
# Widths of the frame's white mat and of the black line around it, pixels.
_MAT, _LINE = 2, 2
FRAME = _MAT + _LINE
# Shorter side of a scaled source photo, in crops: so much of a scene is seen in one crop.
_SCENE = 1.6


@dataclass(frozen=True)
class Credit:
    """Where a sample photo comes from: one row of LICENCES.md."""

    file: str
    subject: str
    author: str
    source: str
    licence: str


@dataclass(frozen=True)
class Crop:
    """A square cut out of a scaled photo: what for, and where (pixels)."""

    role: str
    photo: str
    top: int
    left: int
    size: int


@dataclass(frozen=True)
class Samples:
    """Folders of the demo's images, all of them framed and with that frame `size` pixels square."""

    size: int
    photos: Path
    paintings: Path
    held_out: Path
    """Paintings for the report."""
    truth: Path | None
    """The photo behind every painting, under the painting's name; None for a user's own images."""
    trained_on: bool
    """Whether the paintings of the report were trained on: a user gave too few to keep some apart."""
    skipped: tuple[str, ...] = ()
    """Files of the user's that cannot be used, with the reason."""

    def counts(self) -> dict[str, int]:
        """How many images there are of each kind."""
        folders = {"photos": self.photos, "paintings": self.paintings, "held_out": self.held_out}
        return {name: sum(1 for _ in folder.glob("*.png")) for name, folder in folders.items()}


def photo_folder() -> Path:
    """The sample photos that ship with the package."""
    return Path(str(files("art2real.demo"))) / "photos"


def credits() -> list[Credit]:
    """The rows of the sample photos' LICENCES.md."""
    rows = []
    for line in (photo_folder() / "LICENCES.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 5 and cells[0].endswith(".jpg"):
            rows.append(Credit(*cells))
    return rows


def frame(picture: np.ndarray) -> np.ndarray:
    """A picture `[H, W, 3]` in its frame, `[H + 2 FRAME, W + 2 FRAME, 3]`."""
    margins = ((_MAT, _MAT), (_MAT, _MAT), (0, 0))
    lines = ((_LINE, _LINE), (_LINE, _LINE), (0, 0))
    return np.pad(np.pad(picture, margins, constant_values=255), lines, constant_values=0)


def unframe(framed: np.ndarray) -> np.ndarray:
    """The picture inside of a frame."""
    return np.ascontiguousarray(framed[FRAME:-FRAME, FRAME:-FRAME])


def plan_crops(
    photo: str, height: int, width: int, size: int, count: dict[str, int], seed: int
) -> list[Crop]:
    """Where to cut crops out of one photo, `count[role]` of each role, each inside a column of its role.

    Raises:
        ValueError: a column is narrower, or the photo lower, than a crop.
    """
    random = np.random.default_rng([seed, *photo.encode()])
    edges = [width * number // len(COLUMNS) for number in range(len(COLUMNS) + 1)]
    spans = list(zip(COLUMNS, edges[:-1], edges[1:], strict=True))
    if height < size or min(right - left for _, left, right in spans) < size:
        raise ValueError(f"{photo}: {width}x{height} pixels are too few for crops of {size}")
    crops = []
    for role, wanted in count.items():
        columns = [(left, right) for name, left, right in spans if name == role]
        for number in range(wanted):
            left, right = columns[number % len(columns)]
            # Heights are stratified, so that sky and ground are both seen however few crops there are.
            share = (number + random.uniform()) / wanted
            top = round(share * (height - size))
            crops.append(Crop(role, photo, top, int(random.integers(left, right - size + 1)), size))
    return crops


def make_samples(folder: Path, size: int, seed: int, progress: Callable[[int, int], None]) -> Samples:
    """Writes the demo's own images, framed, below `folder`.

    Args:
        folder: made if it is missing.
        size: side of all images with their frame, pixels.
        seed: of the crops and of the brush.
        progress: called with the images made so far and all of them.
    """
    samples = _folders(folder, size, truth=True)
    side = size - 2 * FRAME
    names = sorted(path.name for path in photo_folder().glob("*.jpg"))
    sources = {name: _scaled(decode(photo_folder() / name), side) for name in names}
    totals = {"photo": PHOTOS, "painting": PAINTINGS, "held_out": HELD_OUT}
    counts = {role: total // len(names) for role, total in totals.items()}
    crops = [
        crop
        for name, source in sources.items()
        for crop in plan_crops(name, source.shape[0], source.shape[1], side, counts, seed)
    ]
    for number, crop in enumerate(crops):
        name = f"{Path(crop.photo).stem}-{number:04d}.png"
        pixels = sources[crop.photo][crop.top : crop.top + side, crop.left : crop.left + side]
        if crop.role == "photo":
            _save(samples.photos / name, pixels)
        else:
            assert samples.truth is not None
            painted = paint(pixels, seed + number)
            _save((samples.paintings if crop.role == "painting" else samples.held_out) / name, painted)
            _save(samples.truth / name, pixels)
        progress(number + 1, len(crops))
    return samples


def take_images(
    folder: Path, paintings: Path, photos: Path, size: int, progress: Callable[[int, int], None]
) -> Samples:
    """Writes a user's own paintings and photos, cut square, scaled and framed, below `folder`.

    Args:
        folder: made if it is missing.
        paintings, photos: folders of images, with their sub-folders.
        size: side of all images with their frame, pixels.
        progress: called with the files read so far and all of them.

    Raises:
        UserError: a folder is missing or empty, or none of its images can be used.
    """
    lists = {"paintings": (paintings, _spread(paintings)), "photos": (photos, _spread(photos))}
    total = sum(len(names) for _, names in lists.values())
    samples = _folders(folder, size, truth=False)
    done = 0
    skipped: list[str] = []
    written: dict[str, list[Path]] = {}
    for kind, (source, names) in lists.items():
        target = samples.paintings if kind == "paintings" else samples.photos
        written[kind] = []
        for name, image in _usable(source, names, skipped):
            done += 1
            progress(done, total)
            if image is not None:
                path = target / f"{len(written[kind]):04d}-{Path(name).stem[:60]}.png"
                _save(path, square(image, size - 2 * FRAME))
                written[kind].append(path)
        if not written[kind]:
            raise UserError(
                f"{source}: none of its {len(names)} images can be used ({skipped[-1]}); "
                f"give a folder with {kind}"
            )
    kept = written["paintings"]
    apart = min(USER_HELD_OUT, len(kept) // 4)
    for number in range(apart):
        path = kept[number * len(kept) // apart]
        path.rename(samples.held_out / path.name)
    if apart == 0:
        for path in kept[:USER_HELD_OUT]:
            (samples.held_out / path.name).write_bytes(path.read_bytes())
    return Samples(
        size, samples.photos, samples.paintings, samples.held_out, None, apart == 0, tuple(skipped)
    )


def _folders(folder: Path, size: int, truth: bool) -> Samples:
    names = ["photos", "paintings", "held-out"] + (["truth"] if truth else [])
    made = [folder / name for name in names]
    for path in made:
        path.mkdir(parents=True, exist_ok=True)
    return Samples(size, made[0], made[1], made[2], made[3] if truth else None, trained_on=False)


def _scaled(photo: np.ndarray, size: int) -> np.ndarray:
    """A source photo scaled so that a crop of `size` shows a good part of the scene, uint8 `[H, W, 3]`."""
    image = Image.fromarray(photo)
    scale = max(_SCENE * size / min(image.size), (size + 8) * len(COLUMNS) / image.width)
    # Rounding up keeps every column at least as wide as a crop.
    width, height = (max(size, int(np.ceil(side * scale))) for side in image.size)
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))


def _spread(folder: Path) -> list[str]:
    names = list_images(folder)
    if len(names) <= USER_IMAGES:
        return names
    return [names[number * len(names) // USER_IMAGES] for number in range(USER_IMAGES)]


def _usable(folder: Path, names: list[str], skipped: list[str]) -> Iterator[tuple[str, np.ndarray | None]]:
    for name in names:
        try:
            yield name, decode(folder / name)
        except BadImage as error:
            skipped.append(f"{name}: {error.cause}: {error.detail}")
            yield name, None


def _save(path: Path, pixels: np.ndarray) -> None:
    """Writes a picture in its frame."""
    Image.fromarray(frame(pixels)).save(path)
