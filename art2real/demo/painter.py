"""Paints a photo: curved brush strokes from coarse to fine, a limited palette, a warm varnish.

After Hertzmann, "Painterly Rendering with Curved Brush Strokes of Multiple Sizes" (SIGGRAPH 1998), sections
2.1 and 2.2: every layer repaints, with a thinner brush, the places where the canvas is still far from the
photo, and a stroke runs across the gradient. The palette, the streaks of the bristles and the varnish are
additions, so that a translator has colours to restore as well as detail.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter, sobel

BRUSHES = (1 / 13, 1 / 26, 1 / 48, 1 / 96)
"""Brush radii, coarse to fine, as shares of the photo's shorter side."""
FINEST = 1.0
"""The thinnest brush radius, in pixels: finer ones are left out."""
COLOURS = 14
"""Colours of the palette."""
THRESHOLD = 13.0
"""Mean error of a grid cell, in grey levels, above which it is painted again."""
STEPS = 5
"""Longest stroke, in steps of one radius."""
VARNISH = np.array([1.0, 0.93, 0.78])
"""What old varnish lets through of red, green and blue."""
SHADOW = np.array([38.0, 27.0, 14.0])
"""Colour of the darkest paint: a brown, never black."""


def paint(photo: np.ndarray, seed: int) -> np.ndarray:
    """Paints `photo`, uint8 `[H, W, 3]`; the same photo and seed give the same uint8 `[H, W, 3]`."""
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
        raise ValueError(f"a photo is uint8 [H, W, 3], got {photo.dtype} {list(photo.shape)}")
    random = np.random.default_rng(seed)
    height, width = photo.shape[:2]
    side = min(height, width)
    # Strokes are drawn larger and scaled down: Pillow's lines have whole-pixel widths and hard edges.
    zoom = max(2, round(256 / side))
    pixels = photo.astype(np.float64)
    palette = _palette(pixels, random)
    angle = _direction(pixels, side / 40)

    ground = (palette.mean(axis=0) * 0.6 + np.array([150, 112, 70]) * 0.4).round().astype(int)
    canvas = Image.new("RGB", (width * zoom, height * zoom), tuple(ground.tolist()))
    for layer, share in enumerate(BRUSHES):
        radius = max(FINEST, side * share)
        if layer > 0 and side * share < FINEST:
            break
        reference = gaussian_filter(pixels, (radius * 0.5, radius * 0.5, 0))
        shown = np.asarray(canvas.resize((width, height), Image.Resampling.BOX), dtype=np.float64)
        starts = _starts(np.abs(shown - reference).mean(axis=2), radius, everywhere=layer == 0)
        random.shuffle(starts)
        colours = _mix(reference[starts[:, 0], starts[:, 1]], palette, random)
        paths, lengths = _strokes(starts, colours, reference, shown, angle, radius)
        _draw(canvas, paths, lengths, colours, radius, zoom, random)
    painted = np.asarray(canvas.resize((width, height), Image.Resampling.BOX), dtype=np.float64)
    return _varnish(painted, random)


def _palette(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The photo's main colours by k-means, `[K, 3]`, a little more saturated than they are."""
    flat = pixels.reshape(-1, 3)
    sample = flat[random.integers(0, len(flat), size=1024)]
    centres = sample[random.integers(0, len(sample), size=COLOURS)]
    for _ in range(6):
        nearest = _nearest(sample, centres)
        counts = np.bincount(nearest, minlength=COLOURS)
        sums = np.stack([np.bincount(nearest, sample[:, channel], COLOURS) for channel in range(3)], axis=1)
        # A photo of few colours leaves centres without pixels; they stay where they are.
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
    grey = centres.mean(axis=1, keepdims=True)
    return np.clip(grey + (centres - grey) * 1.15, 0, 255)


def _nearest(colours: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Number of the palette's colour nearest to each of `colours` `[N, 3]`."""
    return np.asarray((np.square(palette).sum(axis=1) - 2 * colours @ palette.T).argmin(axis=1))


def _mix(wanted: np.ndarray, palette: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Colours for strokes that want `wanted`, `[N, 3]` each: mostly the nearest of the palette, jittered."""
    jitter = random.normal(0, 5, size=(len(wanted), 1)) + random.normal(0, 3, size=(len(wanted), 3))
    return np.clip(palette[_nearest(wanted, palette)] * 0.7 + wanted * 0.3 + jitter, 0, 255)


def _direction(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """Angle of the edge through each pixel, `[H, W]` radians, from the smoothed structure tensor."""
    grey = gaussian_filter(pixels.mean(axis=2), 1.0)
    down, right = sobel(grey, axis=0), sobel(grey, axis=1)
    xx, yy, xy = (gaussian_filter(product, max(1.0, sigma)) for product in (right**2, down**2, right * down))
    return np.asarray(0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2)


def _starts(error: np.ndarray, radius: float, everywhere: bool) -> np.ndarray:
    """Where strokes begin, int64 `[N, 2]` (y, x): the worst pixel of every grid cell that needs paint."""
    height, width = error.shape
    step = max(1, round(radius))
    rows, columns = -(-height // step), -(-width // step)
    padded = np.full((rows * step, columns * step), -1.0)
    padded[:height, :width] = error
    cells = (
        padded.reshape(rows, step, columns, step).transpose(0, 2, 1, 3).reshape(rows, columns, step * step)
    )
    inside = cells >= 0
    mean = np.where(inside, cells, 0).sum(axis=2) / inside.sum(axis=2)
    row, column = np.nonzero(mean >= (0.0 if everywhere else THRESHOLD))
    y, x = np.divmod(cells[row, column].argmax(axis=1), step)
    return np.stack([row * step + y, column * step + x], axis=1)


def _strokes(
    starts: np.ndarray,
    colours: np.ndarray,
    reference: np.ndarray,
    shown: np.ndarray,
    angle: np.ndarray,
    radius: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Follows the edges from every start at once: points `[N, STEPS + 1, 2]` and how many of them count."""
    height, width = angle.shape
    points = np.empty((len(starts), STEPS + 1, 2))
    points[:, 0] = starts
    lengths = np.ones(len(starts), dtype=np.int64)
    growing = np.ones(len(starts), dtype=bool)
    heading = np.zeros((len(starts), 2))
    for step in range(1, STEPS + 1):
        here = points[:, step - 1]
        y = np.clip(here[:, 0].round().astype(int), 0, height - 1)
        x = np.clip(here[:, 1].round().astype(int), 0, width - 1)
        if step > 2:  # a stroke ends where its colour is further from the photo than what is there already
            own = np.abs(reference[y, x] - colours).sum(axis=1)
            growing &= own <= np.abs(reference[y, x] - shown[y, x]).sum(axis=1)
        tangent = np.stack([np.sin(angle[y, x]), np.cos(angle[y, x])], axis=1)
        tangent *= np.where((tangent * heading).sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
        heading = tangent if step == 1 else 0.6 * tangent + 0.4 * heading
        heading /= np.maximum(np.linalg.norm(heading, axis=1, keepdims=True), 1e-6)
        points[:, step] = here + heading * radius
        lengths += growing
    return points, lengths


def _draw(
    canvas: Image.Image,
    paths: np.ndarray,
    lengths: np.ndarray,
    colours: np.ndarray,
    radius: float,
    zoom: int,
    random: np.random.Generator,
) -> None:
    """Draws every stroke as a body with round ends and two streaks that its bristles left."""
    draw = ImageDraw.Draw(canvas)
    body = radius * zoom * 0.8
    streak = max(1, round(body * 0.3))
    lines = (paths[:, :, ::-1] + 0.5) * zoom
    ends = np.maximum(lengths, 2) - 1
    across = lines[np.arange(len(lines)), ends] - lines[:, 0]
    across = np.stack([-across[:, 1], across[:, 0]], axis=1)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6)
    offsets = random.uniform(-0.65, 0.65, size=(len(paths), 2, 1)) * body * across[:, None]
    shades = np.clip(colours[:, None] + random.normal(0, 9, size=(len(paths), 2, 1)), 0, 255)
    fills, tones = colours.astype(int).tolist(), shades.astype(int).tolist()
    for line, end, fill, moves, tone in zip(lines, ends.tolist(), fills, offsets, tones, strict=True):
        points = line[: end + 1]
        draw.line(points.ravel().tolist(), fill=tuple(fill), width=max(1, round(2 * body)))
        for x, y in points.tolist():  # round ends, and no notches in the bends
            draw.ellipse((x - body, y - body, x + body, y + body), fill=tuple(fill))
        for move, shade in zip(moves, tone, strict=True):
            draw.line((points + move).ravel().tolist(), fill=tuple(shade), width=streak)


def _varnish(painted: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Ages the painting `[H, W, 3]`: brown shadows, yellowed light, the weave of the canvas."""
    height, width = painted.shape[:2]
    aged = SHADOW + painted * (1 - SHADOW / 255) * 0.94
    aged = aged * VARNISH
    weave = gaussian_filter(random.normal(size=(height, width)), (0.5, 1.2)) + gaussian_filter(
        random.normal(size=(height, width)), (1.2, 0.5)
    )
    return np.clip(aged + weave[..., None] * 5 + 0.5, 0, 255).astype(np.uint8)
