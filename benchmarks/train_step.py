"""The training step: ours against a plain one, and the full method against plain CycleGAN.

    python benchmarks/train_step.py PART --work DIR [--data DIR] [--device cuda] [--json FILE] [--plot
    FILE.png]

PART is `cyclegan` (our step at weight 0 against the published one written out below), `curves` (the losses of
200 steps of both), `full` (the three scales on banks of a million rows and more) or `workers` (one and two
Ray workers, and how long the step waits for its images). DATA holds trainA, trainB, testA and testB; without
it images are made.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from commands import art2real, measure
from common import alternate, machine, report, spread
from retrieval_bank import CORES, SCALES, Corpus, indexed

from art2real.config.tree import Networks, Objective, Schedule
from art2real.core.estimators import make_estimator
from art2real.core.pool import ImagePool
from art2real.core.precision import network_dtype
from art2real.index.retriever import open_retriever
from art2real.index.source import RetrievedScale
from art2real.training.contextual import ContextualPull
from art2real.training.data import UnpairedImages
from art2real.training.step import CycleGAN, build_networks

Images = Callable[[int], tuple[torch.Tensor, torch.Tensor]]
Step = Callable[[torch.Tensor, torch.Tensor, int], dict[str, torch.Tensor]]

NARROW = Networks(generator_width=32, generator_blocks=6, discriminator_width=32)
WEIGHT = 0.019
CURVE_STEPS, WINDOW = 200, 40


class Plain:
    """The step as it is published: float32, contiguous, each network called for each image by itself."""

    def __init__(self, sizes: Networks, device: torch.device) -> None:
        self.networks = {name: part.to(device) for name, part in build_networks(sizes, 0).items()}
        generators = [*self.networks["G"].parameters(), *self.networks["F"].parameters()]
        discriminators = [*self.networks["D_X"].parameters(), *self.networks["D_Y"].parameters()]
        self.generators = torch.optim.Adam(generators, lr=2e-4, betas=(0.5, 0.999))
        self.discriminators = torch.optim.Adam(discriminators, lr=2e-4, betas=(0.5, 0.999))
        self.pools = {"X": ImagePool(50), "Y": ImagePool(50)}

    def step(self, x: torch.Tensor, y: torch.Tensor, number: int) -> dict[str, torch.Tensor]:
        g, f, judge_x, judge_y = self.networks.values()
        for network in (judge_x, judge_y):
            network.requires_grad_(False)
        self.generators.zero_grad()
        fake_y, fake_x = g(x), f(y)
        scores_y, scores_x = judge_y(fake_y), judge_x(fake_x)
        losses = {
            "adversarial_G": F.mse_loss(scores_y, torch.ones_like(scores_y)),
            "adversarial_F": F.mse_loss(scores_x, torch.ones_like(scores_x)),
            "cycle_X": F.l1_loss(f(fake_y), x),
            "cycle_Y": F.l1_loss(g(fake_x), y),
            "identity_X": F.l1_loss(f(x), x),
            "identity_Y": F.l1_loss(g(y), y),
        }
        total = losses["adversarial_G"] + losses["adversarial_F"]
        total = total + 10 * (losses["cycle_X"] + losses["cycle_Y"])
        (total + 5 * (losses["identity_X"] + losses["identity_Y"])).backward()
        self.generators.step()

        for network in (judge_x, judge_y):
            network.requires_grad_(True)
        self.discriminators.zero_grad()
        for place, (domain, judge, real, fake) in enumerate(
            (("X", judge_x, x, fake_x), ("Y", judge_y, y, fake_y))
        ):
            # The draws of our own pools, so that the curves can be compared.
            shown = self.pools[domain].query(fake, np.random.default_rng([2, 0, number, 0, place]))
            scores, false = judge(real), judge(shown)
            loss = F.mse_loss(scores, torch.ones_like(scores)) + F.mse_loss(false, torch.zeros_like(false))
            losses[f"D_{domain}"] = 0.5 * loss
            losses[f"D_{domain}"].backward()
        self.discriminators.step()
        return {name: loss.detach() for name, loss in losses.items()}


def ours(
    sizes: Networks, device: torch.device, pull: ContextualPull | None = None, *, bfloat16: bool | None = None
) -> CycleGAN:
    if bfloat16 is None:
        bfloat16 = network_dtype(device) is torch.bfloat16
    return CycleGAN(
        build_networks(sizes, 0),
        Objective(),
        Schedule(),
        contextual=None if pull is None else (pull, WEIGHT),
        device=device,
        bfloat16=bfloat16,
    )


def cyclegan(corpus: Corpus, device: torch.device, plot: Path | None) -> list[dict[str, object]]:
    """Seconds a step with the published networks."""
    rows: list[dict[str, object]] = []
    for size, repeats in ((128, 9), (256, 5)):
        images = _images(corpus, size, device)
        steps = {"plain, float32": Plain(Networks(), device).step}
        for name, bfloat16 in (("ours, float32", False), ("ours, bfloat16", True)):
            steps[name] = ours(Networks(), device, bfloat16=bfloat16).step
        taken = alternate(
            {name: _one_after_the_other(step, images) for name, step in steps.items()},
            repeats=repeats,
            warm_ups=2,
        )
        plain = spread(taken["plain, float32"])["median"]
        for name, seconds in taken.items():
            rows.append({"size": size, "step": name, **_figures(seconds, plain)})
            print(rows[-1], flush=True)
    return rows


def curves(corpus: Corpus, device: torch.device, plot: Path | None) -> list[dict[str, object]]:
    """Losses of 200 steps with narrow networks at 64 px: plain, ours, and plain from another order of
    images."""
    images = _images(corpus, 64, device)
    later = _images(corpus, 64, device, seed=1)
    runs = {
        "plain, float32": _curve(Plain(NARROW, device).step, images),
        "ours, float32": _curve(ours(NARROW, device, bfloat16=False).step, images),
        "ours, bfloat16": _curve(ours(NARROW, device, bfloat16=True).step, images),
        "plain, other images": _curve(Plain(NARROW, device).step, later),
    }
    if plot is not None:
        _draw(runs, plot)
    plain = runs["plain, float32"]
    rows = []
    for loss, reference in plain.items():
        row: dict[str, object] = {"loss": loss, "plain, last 40 steps": float(reference[-WINDOW:].mean())}
        for name, run in runs.items():
            if name != "plain, float32":
                row[f"{name}: / plain"] = float(run[loss][-WINDOW:].mean() / reference[-WINDOW:].mean())
        rows.append(row)
    return rows


def full(corpus: Corpus, device: torch.device, plot: Path | None) -> list[dict[str, object]]:
    """Seconds a step of the full method against the CycleGAN step, published networks, and its parts."""
    rows: list[dict[str, object]] = []
    banks = {scale: indexed(corpus.bank(), scale) for scale in SCALES}
    for size in (128, 256):
        images = _images(corpus, size, device)
        plain = ours(Networks(), device)
        models = {}
        for name in ("union", "sampled"):
            sources = {
                scale: RetrievedScale(bank, scale, open_retriever(bank, scale, CORES), device)
                for scale, bank in banks.items()
            }
            pull = ContextualPull(sources, make_estimator(name), seed=0)
            models[name] = ours(Networks(), device, pull)
        steps = {"CycleGAN": plain.step} | {name: model.step for name, model in models.items()}
        taken = alternate(
            {name: _one_after_the_other(step, images) for name, step in steps.items()},
            repeats=9 if size == 128 else 5,
            warm_ups=2,
        )
        cycle = spread(taken["CycleGAN"])["median"]
        count = len(taken["CycleGAN"]) + 2
        for name, seconds in taken.items():
            row = {"size": size, "step": name, **_figures(seconds, cycle)}
            row["x CycleGAN's time"] = statistics.median(seconds) / cycle
            model = models.get(name)
            for key in ("retrieval_seconds", "retrieval_waited", "affinity_seconds"):
                row[key] = 0.0 if model is None else getattr(model, key) / count
            rows.append(row)
            print(row, flush=True)
    return rows


def workers(corpus: Corpus, device: torch.device, plot: Path | None) -> list[dict[str, object]]:
    """`train` with one and with two workers of one core each, 128 px, narrow networks."""
    rows: list[dict[str, object]] = []
    data = corpus.work / "domains"
    if not data.exists():
        data.mkdir()
        for name, files in (("paintings", corpus.photos(240)), ("photos", corpus.photos(600))):
            folder = data / name
            folder.mkdir()
            for path in files:
                (folder / path.name).symlink_to(path.resolve())
    for count in (1, 2):
        settings = {
            "runs": corpus.work / "runs",
            "data.paintings": data / "paintings",
            "data.photos": data / "photos",
            "data.load_size": 143,
            "data.crop_size": 128,
            "networks.generator_width": 32,
            "networks.generator_blocks": 6,
            "schedule.max_steps": 100,
            "contextual.bank": "null",
            "cluster.workers": count,
            "cluster.cpus_per_worker": 1,
            "logging.log_every": 10,
        }
        changes = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        config = Path(__file__).parents[1] / "configs" / "monet2photo.yaml"
        output = measure(art2real("train", "--config", str(config), *changes, "--json")).output
        stats = (Path(json.loads(output)["run"]) / "stats.jsonl").read_text().splitlines()
        lines = [json.loads(line) for line in stats][2:]
        rates = [line["steps_per_second"] for line in lines]
        rows.append(
            {
                "workers": count,
                "steps/s": statistics.median(rates),
                "least": min(rates),
                "greatest": max(rates),
                "images/s": count * statistics.median(rates),
                "waited for images, s/step": statistics.median(line["data_waited"] for line in lines),
            }
        )
    for row in rows:
        row["x one worker"] = float(row["images/s"]) / float(rows[0]["images/s"])  # type: ignore[arg-type]
    return rows


def _images(corpus: Corpus, size: int, device: torch.device, seed: int = 0) -> Images:
    paintings = corpus.photos(50)[0].parent if corpus.data is None else corpus.data / "trainA"
    photos = corpus.photos(50)[0].parent
    data = UnpairedImages(
        str(paintings),
        str(photos),
        load_size=size * 9 // 8,
        crop_size=size,
        flip=True,
        batch_size=1,
        seed=seed,
    )

    def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = data.batch(step)
        return x.to(device), y.to(device)

    return batch


def _one_after_the_other(step: Step, images: Images) -> Callable[[], object]:
    numbers = itertools.count()

    def run() -> float:
        number = next(numbers)
        losses = step(*images(number), number)
        return float(torch.stack(list(losses.values())).sum())  # a GPU may still be at work

    return run


def _curve(step: Step, images: Images) -> dict[str, np.ndarray]:
    taken = [step(*images(number), number) for number in range(CURVE_STEPS)]
    return {name: np.array([float(losses[name]) for losses in taken]) for name in taken[0]}


def _figures(seconds: list[float], plain: float) -> dict[str, float]:
    figures = spread(seconds)
    return {
        "median s": figures["median"],
        "least s": figures["least"],
        "greatest s": figures["greatest"],
        "x faster": plain / figures["median"],
    }


def _draw(runs: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    losses = list(next(iter(runs.values())))
    figure, axes = plt.subplots(2, 4, figsize=(14, 6), layout="constrained")
    for axis, loss in zip(_flat(axes), losses, strict=False):
        for name, run in runs.items():
            mean = np.convolve(run[loss], np.ones(10) / 10, mode="valid")
            axis.plot(np.arange(len(mean)) + 10, mean, label=name, linewidth=1.2, alpha=0.8)
        axis.set_title(loss)
        axis.set_xlabel("step (mean of 10)")
    axes.flat[0].legend(fontsize="small")
    figure.savefig(path, dpi=100)


def _flat(axes: np.ndarray) -> Iterator[plt.Axes]:
    return iter(axes.flat)


PARTS = {"cyclegan": cyclegan, "curves": curves, "full": full, "workers": workers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--data", type=Path, help="folder with trainA, trainB, testA and testB")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--plot", type=Path, help="picture of the curves")
    parser.add_argument("--json", type=Path, help="file for the figures as JSON")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(CORES)
    begun = time.perf_counter()
    rows = PARTS[arguments.part](
        Corpus(arguments.work, arguments.data), torch.device(arguments.device), arguments.plot
    )
    about = machine("torch", "faiss-gpu", "ray") | {
        "threads": CORES,
        "took": f"{time.perf_counter() - begun:.0f} s",
    }
    report(f"Training step: {arguments.part}", about, rows, arguments.json)


if __name__ == "__main__":
    main()
