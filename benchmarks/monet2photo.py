"""The whole path on a real corpus: bank, index, training with retrieval, translation.

    python benchmarks/monet2photo.py DATA --out DIR [--steps 300] [--size 128] [--json FILE]

DATA holds trainA (paintings), trainB (photos) and testA (paintings). Everything that is made stays in DIR.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from commands import Measured, art2real, measure
from common import machine, report

CONFIG = Path(__file__).parents[1] / "configs" / "monet2photo.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="new folder for all that is made")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--size", type=int, default=128, help="side of the training crops, pixels")
    parser.add_argument("--json", type=Path, help="file for the figures as JSON")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True)
    bank, runs = arguments.out / "bank", arguments.out / "runs"

    rows: list[dict[str, object]] = []
    photos = str(arguments.data / "trainB")
    built = measure(art2real("build-banks", photos, "--out", str(bank), "--no-index", "--json"))
    rows += _rows("build-banks --no-index", built) + _bank_rows(json.loads(built.output))
    indexed = measure(art2real("build-index", str(bank), "--json"))
    rows += _rows("build-index", indexed) + _index_rows(json.loads(indexed.output))
    settings = {
        "runs": runs,
        "data.paintings": arguments.data / "trainA",
        "data.photos": photos,
        "data.load_size": arguments.size * 9 // 8,
        "data.crop_size": arguments.size,
        "contextual.bank": bank,
        "schedule.max_steps": arguments.steps,
        "logging.log_every": 10,
        "logging.sample_every": max(1, arguments.steps // 3),
        "logging.checkpoint_every": max(1, arguments.steps // 3),
    }
    changes = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    trained = measure(art2real("train", "--config", str(CONFIG), *changes, "--json"))
    run = Path(json.loads(trained.output)["run"])
    rows += _rows(f"train, {arguments.steps} steps at {arguments.size} px", trained) + _step_rows(run)
    translated = measure(
        art2real(
            "translate",
            str(arguments.data / "testA"),
            "--checkpoint",
            str(run),
            "--out",
            str(arguments.out / "translated"),
            "--json",
        )
    )
    rows += _rows("translate testA", translated)
    report("monet2photo, end to end", machine("torch", "ray", "faiss-gpu"), rows, arguments.json)


def _rows(what: str, measured: Measured) -> list[dict[str, object]]:
    return [
        {"what": what, "value": round(measured.seconds, 1), "unit": "s"},
        {"what": f"{what}: peak memory", "value": round(measured.peak_bytes / 2**30, 2), "unit": "GiB"},
    ]


def _bank_rows(bank: dict[str, object]) -> list[dict[str, object]]:
    patches = [f"{scale['size']}:{scale['stride']} {scale['patches']:,}" for scale in bank["scales"]]
    return [
        {"what": "photos", "value": bank["photos"], "unit": ""},
        {"what": "patches", "value": "; ".join(patches), "unit": ""},
        {"what": "bank on disk", "value": round(bank["bytes"] / 2**20, 1), "unit": "MiB"},
    ]


def _index_rows(index: dict[str, object]) -> list[dict[str, object]]:
    rows = []
    for scale in index["index"]:
        name = f"{scale['size']}:{scale['stride']} {scale['factory']}, nprobe {scale['nprobe']}"
        recall = f"{scale['recall_at_1']:.3f} / {scale['recall_at_5']:.3f}"
        rows += [
            {"what": f"{name}: recall@1 / @5", "value": recall, "unit": ""},
            {"what": f"{name}: search", "value": round(scale["queries_per_second"]), "unit": "queries/s"},
            {"what": f"{name}: memory", "value": round(scale["bytes_per_row"]), "unit": "bytes/row"},
        ]
    return rows


def _step_rows(run: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    steady = lines[len(lines) // 3 :]
    first, last = lines[: len(lines) // 10 or 1], lines[-(len(lines) // 10 or 1) :]
    rows: list[dict[str, object]] = [
        {"what": f"  {name}, median", "value": statistics.median(line[key] for line in steady), "unit": unit}
        for name, key, unit in (
            ("steps a second", "steps_per_second", "1/s"),
            ("retrieval, all scales and threads", "retrieval_seconds", "s/step"),
            ("retrieval that the step waited for", "retrieval_waited", "s/step"),
        )
    ]
    for loss in ("cycle_X", "contextual"):
        begun, ended = (statistics.mean(line["losses"][loss] for line in part) for part in (first, last))
        change = f"{begun:.3f} to {ended:.3f}"
        rows.append({"what": f"  {loss}, first to last tenth", "value": change, "unit": ""})
    return rows


if __name__ == "__main__":
    main()
