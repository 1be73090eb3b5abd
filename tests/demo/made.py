"""A finished demo made of random pictures, as the report takes it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from PIL import Image

from art2real.config.tree import TrainingConfig
from art2real.data.bank import MemoryBank
from art2real.demo.finished import Finished, Stage, load_triples, measure
from art2real.demo.samples import Samples, frame
from tests.pictures import make_photo


def make_finished(out: Path, count: int = 3, *, truth: bool = True) -> Finished:
    """`count` paintings that are darker than their photos, and translations half as dark."""
    samples = Samples(
        40,
        out / "samples/photos",
        out / "samples/paintings",
        out / "samples/held-out",
        out / "samples/truth" if truth else None,
        trained_on=False,
    )
    translations = out / "translations"
    for folder in (samples.photos, samples.paintings, samples.held_out, out / "samples/truth", translations):
        folder.mkdir(parents=True)
    for number in range(count):
        photo = make_photo(number, 32, 32).astype(np.float64)
        name = f"scene-{number}.png"
        for folder, share in ((samples.held_out, 0.5), (translations, 0.75), (out / "samples/truth", 1.0)):
            Image.fromarray(frame((photo * share).astype(np.uint8))).save(folder / name)
    triples = load_triples(samples, translations)
    return Finished(
        out=out,
        samples=samples,
        config=TrainingConfig.model_validate({"name": "made", "data": {"paintings": "p", "photos": "q"}}),
        run=out / "runs/0001-made",
        stats=[
            {"step": step, "losses": {"cycle_X": 1 / step, "cycle_Y": 2 / step, "D_Y": 0.2}}
            for step in range(1, 12)
        ],
        versions={"art2real": "0.0"},
        bank=cast(MemoryBank, SimpleNamespace(photos=range(5))),
        index=[_index_row()],
        stages=[Stage("images", "paint", 1.5), Stage("training", "train", 75.0)],
        triples=triples,
        distances=measure(triples),
    )


def _index_row() -> dict[str, Any]:
    return {
        "size": 8,
        "stride": 5,
        "factory": "Flat",
        "rows": 12345,
        "shards": 1,
        "recall_at_1": 1.0,
        "recall_at_5": 1.0,
    }
