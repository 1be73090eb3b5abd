"""Features and distances of the FID against torch-fidelity and pytorch-fid, on the same weights, in turns.

    PYTHONPATH=. python benchmarks/fid.py [--weights FILE] [--images N] [--rounds N] [--json FILE]

Without --weights seeded random ones are written into a temporary folder: time does not depend on them, and
values are compared either way.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytorch_fid.fid_score
import pytorch_fid.inception
import torch
from common import alternate, machine, report
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_statistics_to_metric

from art2real.core.frechet import frechet_distance
from art2real.core.moments import Moments
from art2real.evaluation.networks import make_network
from art2real.evaluation.weights import find_weights, read_weights
from tests.evaluation.random_weights import write_random_weights

LEVELS = ("2048", "768", "192")
BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, help="file of Inception's weights")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rows", type=int, default=5000, help="images behind each covariance")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file for the figures as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.weights or write_random_weights("inception", Path(folder))
        rows = extraction(path, options.images, options.rounds)
    rows += distance(options.rows, options.rounds)
    about = machine("torch", "numpy", "scipy", "torch-fidelity", "pytorch-fid")
    report("Features of Inception and the Fréchet distance at 2048 dimensions", about, rows, options.json)


def extraction(path: Path, count: int, rounds: int) -> list[dict[str, object]]:
    """Images a second of three networks with one file of weights, images of 299 px, batches of 32."""
    weights = find_weights("inception", path, any_weights=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tensors = read_weights(weights)
    ours = make_network(weights, device)
    theirs = _torch_fidelity(tensors).to(device)
    pytorch_fid.inception.load_state_dict_from_url = lambda *args, **kwargs: tensors
    other = pytorch_fid.inception.InceptionV3([1, 2, 3]).to(device).eval()
    images = np.random.default_rng(0).integers(0, 256, (count, 299, 299, 3), np.uint8)

    @torch.inference_mode()
    def by_torch_fidelity(batch: np.ndarray) -> dict[str, np.ndarray]:
        found = theirs(torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous().to(device))
        return dict(zip(LEVELS, (each.cpu().numpy() for each in found), strict=True))

    @torch.inference_mode()
    def by_pytorch_fid(batch: np.ndarray) -> dict[str, np.ndarray]:
        found = other(torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous().to(device).float() / 255)
        pooled = (each.mean((2, 3)).cpu().numpy() for each in found)
        return dict(zip(reversed(LEVELS), pooled, strict=True))

    ways = {"art2real": ours, "torch-fidelity": by_torch_fidelity, "pytorch-fid": by_pytorch_fid}

    def run(way: Callable[[np.ndarray], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        found = [way(images[at : at + BATCH]) for at in range(0, count, BATCH)]
        return {level: np.concatenate([each[level] for each in found]) for level in LEVELS}

    found = {name: run(way) for name, way in ways.items()}
    seconds = alternate({name: partial(run, way) for name, way in ways.items()}, repeats=rounds)
    least = min(statistics.median(seconds[name]) for name in ways if name != "art2real")
    rows = []
    for name in ways:
        difference = max(
            float(np.abs(found[name][level] - found["torch-fidelity"][level]).max())
            / float(np.abs(found["torch-fidelity"][level]).max())
            for level in LEVELS
        )
        rows.append(
            {
                "what": f"features, {name}",
                "median": f"{count / statistics.median(seconds[name]):.2f} images/s",
                "least - greatest": f"{count / max(seconds[name]):.2f} - {count / min(seconds[name]):.2f}",
                "against the best other": f"{least / statistics.median(seconds[name]):.2f}",
                "relative difference from torch-fidelity": f"{difference:.1e}",
            }
        )
    return rows


def distance(count: int, rounds: int) -> list[dict[str, object]]:
    """Seconds from the moments of two sets of correlated features to their distance."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(2048, 2048)) * np.geomspace(1, 1e-3, 2048)[:, None] / 2048**0.5
    sets = [(rng.normal(size=(count, 2048)) + at * 0.1) @ mixing * (1 + 0.1 * at) for at in range(2)]
    moments = [Moments.of(each) for each in sets]
    (m1, c1), (m2, c2) = ((each.mean, each.covariance) for each in moments)
    one, two = {"mu": m1, "sigma": c1}, {"mu": m2, "sigma": c2}
    ways = {
        "art2real": lambda: frechet_distance(*moments),
        "pytorch-fid (matrix square root)": lambda: pytorch_fid.fid_score.calculate_frechet_distance(
            m1, c1, m2, c2
        ),
        "torch-fidelity (eigenvalues)": lambda: fid_statistics_to_metric(one, two, verbose=False)[
            "frechet_inception_distance"
        ],
    }
    found = {name: way() for name, way in ways.items()}
    seconds = alternate(ways, repeats=rounds, warm_ups=0)
    ours = statistics.median(seconds["art2real"])
    reference = found["torch-fidelity (eigenvalues)"]
    return [
        {
            "what": f"distance, {name}",
            "median": f"{statistics.median(seconds[name]):.2f} s",
            "least - greatest": f"{min(seconds[name]):.2f} - {max(seconds[name]):.2f}",
            "against the best other": f"{statistics.median(seconds[name]) / ours:.1f} x ours",
            "relative difference from torch-fidelity": f"{abs(found[name] / reference - 1):.1e}",
        }
        for name in ways
    ]


def _torch_fidelity(tensors: dict[str, torch.Tensor]) -> FeatureExtractorInceptionV3:
    # It reads a file by unpickling it: it is handed one that was made here.
    file = io.BytesIO()
    torch.save(tensors, file)
    file.seek(0)
    return FeatureExtractorInceptionV3("inception", list(LEVELS), file)


if __name__ == "__main__":
    main()
