"""Images through a generator: any size in, the same size out."""

from __future__ import annotations

import glob
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image

from art2real.core.patches import to_signed
from art2real.data.corpus import list_images
from art2real.data.images import BadImage, ImageLimits, decode
from art2real.errors import UsageError, UserError
from art2real.translation.weights import load_generator

FORMATS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
"""Output formats and the suffix of their files."""

MAX_PIXELS = 2**23
"""Largest image translated in one piece: the published generator takes 1 KiB of memory a pixel."""

_LIMITS = ImageLimits(min_side=1, max_pixels=MAX_PIXELS)
_MULTIPLE = 4
# Two halvings, and then a padding of one pixel by reflection needs a neighbour.
_LEAST = 8
_QUALITY = 95


@dataclass(frozen=True)
class Translated:
    """What `translate_files` did."""

    files: tuple[tuple[Path, Path], ...]
    """Source and result of each translated image."""
    skipped: tuple[tuple[Path, str], ...]
    """Each file that was left out, and why."""
    seconds: float


def translate_image(generator: torch.nn.Module, pixels: np.ndarray) -> np.ndarray:
    """G(image), of the same size, uint8 `[H, W, 3]`.

    The right and lower border are padded by reflection to a size that the generator can halve twice, and the
    result is cropped back.

    Args:
        generator: `[1, 3, H, W]` in [-1, 1] -> the same, on any device.
        pixels: RGB, uint8 `[H, W, 3]`.
    """
    height, width = pixels.shape[:2]
    padding = [(0, max(_LEAST, -(-side // _MULTIPLE) * _MULTIPLE) - side) for side in (height, width)]
    # np.pad reflects as often as it takes, for images smaller than their padding.
    padded = np.pad(pixels, (*padding, (0, 0)), mode="reflect")
    weight = next(generator.parameters(), None)
    signed = to_signed(torch.from_numpy(padded).permute(2, 0, 1)[None])
    with torch.inference_mode():
        out = generator(signed if weight is None else signed.to(weight.device))
    return to_pixels(out)[0, :height, :width]


def to_pixels(images: torch.Tensor) -> np.ndarray:
    """`[B, 3, H, W]` in [-1, 1] -> uint8 `[B, H, W, 3]`; what is outside is clipped, NaN is black."""
    values = images.detach().float().cpu().nan_to_num(-1.0).add(1.0).mul(127.5).round_().clamp_(0, 255)
    return values.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def translate_files(
    inputs: Sequence[str],
    checkpoint: Path,
    out: Path,
    *,
    image_format: str = "png",
    device: torch.device | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    on_skip: Callable[[Path, str], None] = lambda path, reason: None,
) -> Translated:
    """Translates images and writes them into a folder under their own names.

    Args:
        inputs: images, folders (with their sub-folders, which are kept) and glob patterns.
        checkpoint: as `load_generator` takes it.
        out: folder for the results; made where it is missing. A result of an earlier call is replaced.
        image_format: `png` (lossless), `jpeg` or `webp` (quality 95).
        device: where to compute; None: the first GPU, or the CPU.
        on_progress: called with images done and all images.
        on_skip: called with each file that is left out, and why.

    Raises:
        UserError: no input, no checkpoint, nothing that could be translated.
        UsageError: the results would replace the inputs.
    """
    begun = time.perf_counter()
    plan = plan_outputs(inputs, out, FORMATS[image_format])
    if device is None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = load_generator(checkpoint).to(device)
    done: list[tuple[Path, Path]] = []
    skipped: list[tuple[Path, str]] = []
    for number, (source, target) in enumerate(plan, 1):
        try:
            _save(translate_image(generator, decode(source, _LIMITS)), target, image_format)
        except BadImage as error:
            skipped.append((source, f"{error.cause}: {error.detail}"))
            on_skip(*skipped[-1])
        except OSError as error:
            raise UserError(f"{target} cannot be written: {error.strerror or error}") from None
        else:
            done.append((source, target))
        on_progress(number, len(plan))
    if not done:
        path, reason = skipped[0]
        raise UserError(f"none of the {len(skipped)} images could be translated; {path}: {reason}")
    return Translated(tuple(done), tuple(skipped), time.perf_counter() - begun)


def plan_outputs(inputs: Sequence[str], out: Path, suffix: str) -> list[tuple[Path, Path]]:
    """Each image that the inputs name, once, with the file that its translation goes to.

    Images of a folder keep their place below it. Where two images would get one file, all of that name keep
    the name of their folder as well, and where that does not tell them apart, a number is added.

    Raises:
        UserError: an input that does not exist, a folder without images.
        UsageError: a result would replace an input.
    """
    sources: dict[Path, tuple[str, PurePosixPath]] = {}
    for root, relative, path in _expand(inputs, out):
        sources.setdefault(path.resolve(), (root, relative))
    names = [relative.with_suffix(suffix) for _, relative in sources.values()]
    clashing = _repeated(names)
    taken: set[PurePosixPath] = set()
    plan = []
    for (source, (root, _)), name in zip(sources.items(), names, strict=True):
        wanted = PurePosixPath(root) / name if name in clashing and root else name
        unique, number = wanted, 2
        while unique in taken:
            unique, number = wanted.with_stem(f"{wanted.stem}-{number}"), number + 1
        taken.add(unique)
        target = out / unique
        if target.resolve() in sources:
            raise UsageError(f"--out {out} would replace {target}, which is an input; choose another folder")
        plan.append((source, target))
    return plan


def _expand(inputs: Sequence[str], out: Path) -> Iterable[tuple[str, PurePosixPath, Path]]:
    """Name of the folder, path below it, and path of each image."""
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            # The results of an earlier call may lie inside of the folder.
            for relative in list_images(path, leave_out=out):
                yield path.resolve().name, PurePosixPath(relative), path / relative
        elif path.is_file():
            yield path.resolve().parent.name, PurePosixPath(path.name), path
        else:
            # Path.glob takes no absolute pattern.
            matches = glob.glob(text, recursive=True)  # noqa: PTH207
            found = sorted(Path(name) for name in matches if Path(name).is_file())
            if not found:
                raise UserError(f"{text}: there is no such image, folder or pattern with a match")
            yield from ((file.resolve().parent.name, PurePosixPath(file.name), file) for file in found)


def _repeated(names: Sequence[PurePosixPath]) -> set[PurePosixPath]:
    return {name for name, count in Counter(names).items() if count > 1}


def _save(pixels: np.ndarray, target: Path, image_format: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    image = Image.fromarray(pixels)
    try:
        if image_format == "png":
            image.save(temporary, format="PNG")
        else:
            image.save(temporary, format=image_format.upper(), quality=_QUALITY)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
