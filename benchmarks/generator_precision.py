"""Forward and backward pass of the generator on a CPU: number format, memory format, compilation.

    python benchmarks/generator_precision.py --json generator_precision.json

Measures a pass of float32, and of each combination of bfloat16 autocast, channels-last memory and
torch.compile, in turns. Also says how far each image is from that of float32: a faster format that paints
something else is of no use.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from common import alternate, machine, report, spread

from art2real.core.networks import ResNetGenerator, initialise
from art2real.core.precision import network_dtype


@dataclass(frozen=True)
class Variant:
    """One way to compute the same network."""

    bfloat16: bool
    channels_last: bool
    compiled: bool

    def __str__(self) -> str:
        parts = ["bfloat16" if self.bfloat16 else "float32"]
        parts += ["channels-last"] if self.channels_last else []
        parts += ["compiled"] if self.compiled else []
        return " + ".join(parts)

    def prepare(self, width: int, blocks: int, images: torch.Tensor) -> Callable[[], torch.Tensor]:
        """What runs one forward and backward pass and returns the made images."""
        generator = ResNetGenerator(width, blocks)
        initialise(generator, torch.Generator().manual_seed(0))
        network: Callable[[torch.Tensor], torch.Tensor] = generator
        if self.channels_last:
            generator.to(memory_format=torch.channels_last)
            images = images.contiguous(memory_format=torch.channels_last)
        if self.compiled:
            network = torch.compile(generator)

        def precision() -> AbstractContextManager[object]:
            return torch.autocast("cpu", torch.bfloat16) if self.bfloat16 else nullcontext()

        def step() -> torch.Tensor:
            generator.zero_grad(set_to_none=True)
            with precision():
                made = network(images)
            made.float().abs().mean().backward()
            return made.detach().float()

        return step


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=128, help="side of the images, pixels")
    parser.add_argument("--batch", type=int, default=1, help="images in a pass")
    parser.add_argument("--width", type=int, default=64, help="channels after the first layer")
    parser.add_argument("--blocks", type=int, default=9, help="residual blocks")
    parser.add_argument("--repeats", type=int, default=9, help="measured passes of each variant")
    parser.add_argument("--warm-ups", type=int, default=2, help="passes before them")
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None and not options.no_compile:
        print("no C++ compiler found (c++, g++, clang++): torch.compile is left out", file=sys.stderr)
    with_compile = [False] if options.no_compile or compiler is None else [False, True]
    images = torch.rand(
        options.batch, 3, options.size, options.size, generator=torch.Generator().manual_seed(1)
    )
    images = images * 2 - 1
    variants = [Variant(b, c, t) for t, b, c in product(with_compile, [False, True], [False, True])]
    steps = {str(variant): variant.prepare(options.width, options.blocks, images) for variant in variants}
    exact = steps["float32"]()
    distance = {name: float((step() - exact).abs().mean()) for name, step in steps.items()}
    seconds = alternate(steps, repeats=options.repeats, warm_ups=options.warm_ups)

    plain = spread(seconds["float32"])["median"]
    rows = []
    for name, values in seconds.items():
        figures = spread(values)
        rows.append(
            {
                "variant": name,
                "median s": figures["median"],
                "least s": figures["least"],
                "greatest s": figures["greatest"],
                "x float32": plain / figures["median"],
                "mean difference of the image": distance[name],
            }
        )
    about = machine("torch") | {
        "threads": torch.get_num_threads(),
        "repeats": options.repeats,
        "compiler": Path(compiler).name if compiler else "none",
        "network_dtype": str(network_dtype(torch.device("cpu"))).removeprefix("torch."),
    }
    shape = f"batch {options.batch}, {options.size} px, width {options.width}, {options.blocks} blocks"
    report(f"Generator, forward and backward, {shape}", about, rows, options.json)


if __name__ == "__main__":
    main()
