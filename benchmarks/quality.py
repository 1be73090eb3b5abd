"""The method's claim at a size that two cores can carry: does the pull bring translations nearer to photos?

    python benchmarks/quality.py --data DIR --work DIR [--steps N] [--seeds 0 1 2] [--rows NAME ...] [--json
    FILE]

DATA is monet2photo (trainA, trainB, testA, testB). Each row of the table is trained at 64 px from each seed,
with the same networks and steps, one core each; what it makes of the held-out paintings is compared with
held-out photos. Runs that are done in --work are not done again.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import machine, report
from PIL import Image
from retrieval_bank import CORES, SCALES, build
from retrieval_fidelity import RawSource
from scipy.linalg import sqrtm

from art2real.config.load import config_from_dict
from art2real.core.estimators import DEFAULT_WEIGHT, PatchSource
from art2real.core.patches import extract, to_signed
from art2real.core.scale import Scale
from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.corpus import list_images
from art2real.data.images import decode, square
from art2real.data.manifest import BankSettings
from art2real.demo.distances import structure_distance
from art2real.index.manifest import Request, index_folder
from art2real.index.retriever import open_retriever
from art2real.index.source import RetrievedScale
from art2real.training.loop import train_loop
from art2real.training.parts import make_model, make_pull
from art2real.training.run_folder import RunFolder
from art2real.training.samples import grid, write_sheet
from art2real.training.state import load_state
from art2real.translation.pixels import to_pixels

SIZE = 64
LOAD = 72
FEATURES = 64  # principal components of patches


@dataclass(frozen=True)
class Row:
    """A way to train."""

    contextual: dict[str, Any] = field(default_factory=dict)
    raw: bool = False
    """Neighbours by the distance of raw pixels, as published."""
    centred: bool = True
    """Cosines of patches less the bank's mean, as published, or of the patches themselves."""


SAMPLED = {"estimator": "sampled"}
ROWS = {
    "CycleGAN": Row({"weight": 0}),
    "published: union, raw L2, k=5": Row({"estimator": "union", "neighbours": 5}, raw=True),
    "sampled": Row(SAMPLED),
    # What could be the cause of what comes out.
    "sampled, mean of -log": Row({**SAMPLED, "reduction": "mean_of_log"}),
    "published, mean of -log": Row(
        {"estimator": "union", "neighbours": 5, "reduction": "mean_of_log"}, raw=True
    ),
    "union, loss's metric": Row({"estimator": "union", "neighbours": 5}),
    "union, k=20": Row({"estimator": "union", "neighbours": 20}),
    "sampled, weight x 4": Row({**SAMPLED, "weight": 4 * DEFAULT_WEIGHT["sampled"]}),
    "sampled, weight / 4": Row({**SAMPLED, "weight": DEFAULT_WEIGHT["sampled"] / 4}),
    "sampled, mean of -log, weight x 4": Row(
        {**SAMPLED, "reduction": "mean_of_log", "weight": 4 * DEFAULT_WEIGHT["sampled"]}
    ),
    "published, weight x 4": Row({"estimator": "union", "neighbours": 5, "weight": 0.4}, raw=True),
    "sampled, M=512": Row({**SAMPLED, "draws": 512}),
    "sampled, k=8": Row({**SAMPLED, "neighbours": 8}),
    "sampled, not centred": Row(SAMPLED, centred=False),
}
MAIN = list(ROWS)[:3]


class Uncentred(RetrievedScale):
    """Distances between patches as they are; neighbours are still found by the centred ones."""

    @property
    def mean(self) -> torch.Tensor:
        return torch.zeros_like(super().mean)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="monet2photo")
    parser.add_argument("--work", type=Path, required=True, help="folder for banks and runs")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", default=MAIN, choices=ROWS)
    parser.add_argument(
        "--one", action="store_true", help="train the first of --rows from the first of --seeds"
    )
    parser.add_argument("--json", type=Path, help="file for the figures as JSON")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.one:
        train(options.data, options.work, options.rows[0], options.seeds[0], options.steps)
        return
    bank = memory_bank(options.data, options.work)
    for scale in SCALES:
        RawSource(_source(bank, scale))  # its index is made once, before the runs want it
    jobs = [(name, seed) for seed in options.seeds for name in options.rows]

    def job(of: tuple[str, int]) -> None:
        name, seed = of
        command = [sys.executable, __file__, "--data", options.data, "--work", options.work, "--one"]
        command += ["--steps", options.steps, "--rows", name, "--seeds", seed]
        subprocess.run([str(part) for part in command], check=True)

    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(job, jobs))
    torch.set_num_threads(CORES)
    judge = Judge(options.data, bank)
    rows = [judge.reference("paintings, untouched", judge.paintings), judge.other_photos()]
    for name in options.rows:
        found = [judge.run(_folder(options.work, name, seed, options.steps)) for seed in options.seeds]
        rows.append({"row": name, **_spread(found)})
    _show(options, judge)
    about = machine("torch", "faiss-gpu", "numpy") | {"steps": options.steps, "seeds": len(options.seeds)}
    report("Translations against held-out photos, mean ± deviation over seeds", about, rows, options.json)


def settings(data: Path, work: Path, name: str, seed: int, steps: int) -> dict[str, Any]:
    """The run's configuration: narrow networks, the published losses, a rate for few steps."""
    return {
        "name": "".join(sign if sign.isalnum() else "-" for sign in name) + f"-{seed}-{steps}",
        "runs": str(work / "runs"),
        "seed": seed,
        "data": {
            "paintings": str(data / "trainA"),
            "photos": str(data / "trainB"),
            "load_size": LOAD,
            "crop_size": SIZE,
        },
        "networks": {"generator_width": 32, "generator_blocks": 4, "discriminator_width": 32},
        "contextual": {"bank": str(work / "bank"), **ROWS[name].contextual},
        "schedule": {"max_steps": steps, "learning_rate": 4e-4},
        "logging": {"log_every": 50, "sample_every": steps, "checkpoint_every": steps},
    }


def train(data: Path, work: Path, name: str, seed: int, steps: int) -> None:
    """Trains a row from a seed, with one thread."""
    if _folder(work, name, seed, steps) is not None:
        return
    torch.set_num_threads(1)
    config = config_from_dict(settings(data, work, name, seed, steps), name)
    bank = MemoryBank.open(work / "bank")
    sources = {} if config.contextual.weight == 0 else {scale: _wanted(name, bank, scale) for scale in SCALES}
    run = RunFolder.create(config, {})
    train_loop(config, run, sources=sources)
    run.finish(steps)
    print(f"{name}, seed {seed}: {run.path}", flush=True)


def memory_bank(data: Path, work: Path) -> MemoryBank:
    """All training photos at 64 px, with an index of the loss's metric."""
    if not (work / "bank" / "manifest.json").exists():
        build_bank(data / "trainB", work / "bank", BankSettings(image_size=SIZE, scales=SCALES))
    bank = MemoryBank.open(work / "bank")
    for scale in SCALES:
        if not (index_folder(bank.path, scale) / "manifest.json").exists():
            build(bank, scale, Request())
    return bank


class Judge:
    """What translations of held-out paintings are measured by. No weights are downloaded for it.

    - nearest: mean over the patches of the cosine distance, in the loss's metric, to the nearest patch of 300
      held-out photos; smooth patches are near to many, so it says nothing alone;
    - Fréchet: distance between Gaussians of patches of translations and of held-out photos (Heusel et al.,
      "GANs trained by a two time-scale update rule", 2017, equation 6), in place of Inception features the 64
      first principal components of the bank's patches, each divided by its deviation there; mean of the
      scales;
    - cycle: mean |F(G(x)) - x| in grey levels; structure: SSIM of G(x) and x, of the luma.
    """

    def __init__(self, data: Path, bank: MemoryBank) -> None:
        self.paintings = _images(data / "testA")
        self.photos = _images(data / "testB")
        self.sheets: dict[str, torch.Tensor] = {}
        self._bank = bank
        self._bases = {scale: _basis(bank, scale) for scale in SCALES}

    def reference(self, name: str, images: torch.Tensor) -> dict[str, object]:
        """The figures of pictures that nothing translated."""
        found = self._distances(images, self.photos)
        return {
            "row": name,
            **{key: f"{value:.3f}" for key, value in found.items()},
            "cycle": "",
            "structure": "",
        }

    def other_photos(self) -> dict[str, object]:
        """What photos have: a tenth of the held-out ones against the rest."""
        found = self._distances(self.photos[::10], torch.cat([self.photos[at::10] for at in range(1, 10)]))
        row = {key: f"{value:.3f}" for key, value in found.items()}
        return {"row": "other photos", **row, "cycle": "", "structure": ""}

    def run(self, folder: Path | None) -> dict[str, float]:
        """The figures of a finished run."""
        assert folder is not None
        run = RunFolder(folder)
        config = run.config
        model = make_model(config, make_pull(config, None))
        load_state(run.checkpoints()[-1][1], model, config)
        made = model.translate(self.paintings, "G").clamp(-1, 1)
        back = model.translate(made, "F")
        self.sheets[config.name] = made
        pixels = zip(to_pixels(made), to_pixels(self.paintings), strict=True)
        return {
            **self._distances(made, self.photos),
            "cycle": float((back - self.paintings).abs().mean()) * 127.5,
            "structure": statistics.mean(1 - structure_distance(one, other) for one, other in pixels),
        }

    def _distances(self, images: torch.Tensor, photos: torch.Tensor) -> dict[str, float]:
        found: dict[str, float] = {}
        frechet = []
        for scale in SCALES:
            made, real = (extract(each, scale.size, scale.stride).flatten(0, 1) for each in (images, photos))
            mean = torch.from_numpy(self._bank.mean(scale))
            found[f"nearest {scale}"] = _nearest(made - mean, real - mean)
            frechet.append(_frechet(self._bases[scale](made), self._bases[scale](real)))
        found["Fréchet"] = statistics.mean(frechet)
        return found


def _nearest(made: torch.Tensor, real: torch.Tensor) -> float:
    made, real = (torch.nn.functional.normalize(each, dim=1) for each in (made, real))
    best = torch.cat([(block @ real.T).amax(1) for block in made.split(256)])
    return float((1 - best).mean())


def _basis(bank: MemoryBank, scale: Scale) -> Callable[[torch.Tensor], np.ndarray]:
    """The first principal components of the bank's patches, as a map to coefficients of deviation 1."""
    rows = np.sort(np.random.default_rng(0).choice(bank.rows(scale), 50_000, replace=False))
    patches = torch.from_numpy(bank.vectors(scale, rows)).double()
    mean = patches.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov(patches.T))
    count = min(FEATURES, len(values))
    whitened = vectors[:, -count:] / values[-count:].sqrt()
    return lambda of: ((of.double() - mean) @ whitened).numpy()


def _frechet(made: np.ndarray, real: np.ndarray) -> float:
    first, second = np.cov(made.T), np.cov(real.T)
    root = sqrtm(first @ second)
    shift = np.square(made.mean(0) - real.mean(0)).sum()
    return float(shift + np.trace(first + second - 2 * np.real(root)))


def _source(bank: MemoryBank, scale: Scale) -> RetrievedScale:
    return RetrievedScale(bank, scale, open_retriever(bank, scale, 1))


def _wanted(name: str, bank: MemoryBank, scale: Scale) -> PatchSource:
    source = _source(bank, scale)
    if ROWS[name].raw:
        return RawSource(source)
    return source if ROWS[name].centred else Uncentred(bank, scale, source.retriever)


def _folder(work: Path, name: str, seed: int, steps: int) -> Path | None:
    wanted = settings(Path(), work, name, seed, steps)["name"]
    for path in sorted((work / "runs").glob(f"*-{wanted}")):
        if path.name[5:] == wanted and RunFolder(path).finished:
            return path
    return None


def _images(folder: Path) -> torch.Tensor:
    pixels = np.stack([square(decode(folder / name), SIZE) for name in list_images(folder)])
    return to_signed(torch.from_numpy(pixels)).permute(0, 3, 1, 2).contiguous()


def _spread(found: Sequence[dict[str, float]]) -> dict[str, str]:
    row = {}
    for key in found[0]:
        values = [each[key] for each in found]
        deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        row[key] = f"{statistics.mean(values):.3f}{deviation}"
    return row


def _show(options: argparse.Namespace, judge: Judge) -> None:
    """A sheet: eight paintings, and what each row makes of them from the first seed."""
    names = [settings(Path(), Path(), name, options.seeds[0], options.steps)["name"] for name in options.rows]
    chosen = slice(0, 30, 4)
    sheet = grid([judge.paintings[chosen], *(judge.sheets[name][chosen] for name in names)])
    path = options.work / "sheet.png"
    write_sheet(path, np.asarray(Image.fromarray(sheet).resize((sheet.shape[1] * 2, sheet.shape[0] * 2))))
    print(path)


if __name__ == "__main__":
    main()
