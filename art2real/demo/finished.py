"""What the demo hands to its report: where everything lies and what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from art2real.config.tree import TrainingConfig
from art2real.data.bank import MemoryBank
from art2real.demo.distances import DISTANCES
from art2real.demo.samples import Samples, unframe


@dataclass(frozen=True)
class Stage:
    """One stage of the demo and how long it took."""

    name: str
    what: str
    seconds: float


@dataclass(frozen=True)
class Measured:
    """One distance to the true photo over all paintings of the report: means, before and after."""

    name: str
    unit: str
    definition: str
    before: float
    after: float
    error: float
    """Half of the 95 % interval of the mean difference, from the spread over the paintings."""
    nearer: int
    """Paintings whose translation is nearer to the true photo than the painting is."""
    count: int

    @property
    def verdict(self) -> str:
        """`nearer`, `farther`, or `no clear change` where the interval includes no change."""
        change = self.after - self.before
        return "no clear change" if abs(change) <= self.error else "nearer" if change < 0 else "farther"

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "before": round(self.before, 4),
            "after": round(self.after, 4),
            "error": round(self.error, 4),
            "nearer": self.nearer,
            "count": self.count,
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Triple:
    """A painting, its translation and, for the demo's own images, the true photo; uint8 `[S, S, 3]` each."""

    name: str
    painting: np.ndarray
    translation: np.ndarray
    truth: np.ndarray | None

    @property
    def pictures(self) -> list[np.ndarray]:
        shown = [self.painting, self.translation, self.truth]
        return [picture for picture in shown if picture is not None]


@dataclass(frozen=True)
class Finished:
    """All that a demo made and measured."""

    out: Path
    samples: Samples
    config: TrainingConfig
    run: Path
    stats: list[dict[str, Any]]
    """The lines of the run's stats.jsonl."""
    versions: dict[str, str]
    bank: MemoryBank
    index: list[dict[str, Any]]
    stages: list[Stage]
    triples: list[Triple]
    distances: list[Measured]

    @property
    def report(self) -> Path:
        return self.out / "report.html"

    def to_dict(self) -> dict[str, Any]:
        """The demo's result for machines."""
        return {
            "report": str(self.report),
            "picture": str(self.out / "demo.png"),
            "run": str(self.run),
            "images": self.samples.counts(),
            "steps": self.stats[-1]["step"] if self.stats else 0,
            "distances": [distance.to_dict() for distance in self.distances],
            "seconds": {stage.name: round(stage.seconds, 2) for stage in self.stages},
            "seconds_in_all": round(sum(stage.seconds for stage in self.stages), 1),
            "index": self.index,
            "versions": self.versions,
        }


def load_triples(samples: Samples, translations: Path) -> list[Triple]:
    """The paintings of the report with their translations, without frames, in the order of their names."""
    triples = []
    for path in sorted(samples.held_out.glob("*.png")):
        truth = None if samples.truth is None else _pixels(samples.truth / path.name)
        triples.append(Triple(path.stem, _pixels(path), _pixels(translations / path.name), truth))
    return triples


def measure(triples: list[Triple]) -> list[Measured]:
    """All distances to the true photo, of paintings and translations; empty where it is not known."""
    pairs = [(triple, triple.truth) for triple in triples if triple.truth is not None]
    if not pairs:
        return []
    rows = []
    for distance in DISTANCES:
        before = np.array([distance.measure(triple.painting, truth) for triple, truth in pairs])
        after = np.array([distance.measure(triple.translation, truth) for triple, truth in pairs])
        change = after - before
        error = 1.96 * float(change.std(ddof=1)) / np.sqrt(len(change)) if len(change) > 1 else float("inf")
        rows.append(
            Measured(
                distance.name,
                distance.unit,
                distance.definition,
                float(before.mean()),
                float(after.mean()),
                float(error),
                int((change < 0).sum()),
                len(change),
            )
        )
    return rows


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return unframe(np.array(image.convert("RGB"), dtype=np.uint8))
