"""Translation in bands against translation in one piece: pixels a second, difference, and memory by size.

    python benchmarks/tiling.py --json tiling.json
    python benchmarks/tiling.py --large 8192 --json large.json

The first table: both ways in turns in one process, and how far the results are apart, in values of 0 to 255:
over the image, and in the rows on both sides of the bands' borders. The second: each size in a process of its
own, whose greatest memory is that above what it held with the generator and the image loaded; also with the
features in a file. `--large` translates one image of that side alone.

The generator has random weights: what it paints is no picture, but takes the time and memory of one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import alternate, machine, report, spread
from PIL import Image

from art2real.core.networks import ResNetGenerator, initialise
from art2real.translation.image import translate_image
from art2real.translation.tiled import BAND_PIXELS, MEMORY, translate_tiled

WAYS = ("whole", "bands", "bands, features in a file")


@dataclass(frozen=True)
class Setting:
    """What is translated by what."""

    width: int
    blocks: int
    band_pixels: int

    def generator(self) -> ResNetGenerator:
        """The generator, with random weights."""
        made = ResNetGenerator(self.width, self.blocks).eval().requires_grad_(False)
        initialise(made, torch.Generator().manual_seed(0))
        return made

    def translate(self, way: str, generator: ResNetGenerator, picture: np.ndarray) -> np.ndarray:
        """The picture, translated in one of `WAYS`."""
        if way == "whole":
            return translate_image(generator, picture, whole_pixels=picture.size)
        memory = MEMORY if way == "bands" else 0
        return translate_tiled(generator, picture, band_pixels=self.band_pixels, memory=memory)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024], help="sides of the timed images")
    parser.add_argument(
        "--memory-sizes", type=int, nargs="+", default=[512, 1024, 2048], help="sides of the weighed images"
    )
    parser.add_argument("--whole-up-to", type=int, default=1024, help="largest side weighed in one piece")
    parser.add_argument("--large", type=int, help="one image of this side alone, in bands")
    parser.add_argument("--width", type=int, default=64, help="channels after the first layer")
    parser.add_argument("--blocks", type=int, default=9, help="residual blocks")
    parser.add_argument("--band-pixels", type=int, default=BAND_PIXELS, help="pixels of a band")
    parser.add_argument("--repeats", type=int, default=3, help="measured runs of each way")
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--weigh", nargs=2, metavar=("WAY", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    setting = Setting(options.width, options.blocks, options.band_pixels)
    if options.weigh:
        print(json.dumps(weigh(setting, options.weigh[0], int(options.weigh[1]))))
        return
    about = machine("torch", "numpy") | {"threads": torch.get_num_threads()}
    shape = f"width {setting.width}, {setting.blocks} blocks, bands of {setting.band_pixels} pixels"
    if options.large:
        report(f"One large image, {shape}", about, [in_child("bands", options.large)], options.json)
        return
    timed = [compare(setting, side, options.repeats) for side in options.sizes]
    report(f"In bands and in one piece, {shape}", about, timed, options.json)
    weighed = [
        in_child(way, side)
        for side in options.memory_sizes
        for way in WAYS
        if way != "whole" or side <= options.whole_up_to
    ]
    second = options.json and options.json.with_stem(f"{options.json.stem}-memory")
    print()
    report(f"Memory above that of generator and image, {shape}", about, weighed, second)


def compare(setting: Setting, side: int, repeats: int) -> dict[str, object]:
    """Time of both ways, and the difference of what they give."""
    generator, picture = setting.generator(), scene(side)
    runs = {way: (lambda way=way: setting.translate(way, generator, picture)) for way in WAYS[:2]}
    results = {way: run() for way, run in runs.items()}
    difference = np.abs(results["whole"].astype(int) - results["bands"])
    step = max(1, setting.band_pixels // (side * 4)) * 4
    borders = np.arange(step, side, step)
    seconds = alternate(runs, repeats=repeats, warm_ups=0)
    pixels = {way: spread([side * side / each for each in seconds[way]]) for way in runs}
    return {
        "side": side,
        "bands": len(borders) + 1,
        **{
            f"pixels/s {way}": f"{each['median']:,.0f} ({each['least']:,.0f} to {each['greatest']:,.0f})"
            for way, each in pixels.items()
        },
        "bands / whole": pixels["bands"]["median"] / pixels["whole"]["median"],
        "greatest difference": int(difference.max()),
        "mean": float(difference.mean()),
        "mean at borders": float(difference[np.concatenate([borders - 1, borders])].mean())
        if len(borders)
        else "no border",
    }


def in_child(way: str, side: int) -> dict[str, object]:
    """What `weigh` finds in a process of its own, with this one's options."""
    command = [sys.executable, __file__, *sys.argv[1:], "--weigh", way, str(side)]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def weigh(setting: Setting, way: str, side: int) -> dict[str, Any]:
    """Greatest memory of a translation, above what this process held before it."""
    generator, picture = setting.generator(), scene(side)
    setting.translate("whole", generator, picture[:64, :64])  # what torch sets up once
    before = memory("VmRSS")
    begun = time.perf_counter()
    setting.translate(way, generator, picture)
    seconds = time.perf_counter() - begun
    above = memory("VmHWM") - before
    return {
        "side": side,
        "way": way,
        "MB": above / 1e6,
        "bytes a pixel": above / side**2,
        "seconds": seconds,
        "pixels/s": f"{side**2 / seconds:,.0f}",
    }


def memory(which: str) -> int:
    """Bytes of memory of this process, from Linux: VmRSS now, VmHWM at most so far.

    Not `getrusage`, whose greatest value a new process takes over from the one that started it.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(which))


def scene(side: int) -> np.ndarray:
    """A picture with large and small forms and grain, uint8 `[side, side, 3]`, made without large arrays."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (17, 17, 3), dtype=np.uint8)
    picture = np.array(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))
    picture //= 2
    for row in picture:
        row += random.integers(0, 128, row.shape, dtype=np.uint8)
    return picture


if __name__ == "__main__":
    main()
