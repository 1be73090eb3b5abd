"""The published table: sets of images against photos, at three levels of the FID's Inception."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from art2real.evaluation.features import Features
from art2real.evaluation.scores import Measures, Score, check_enough, score
from art2real.evaluation.sets import ImageSet
from art2real.evaluation.weights import Weights
from art2real.pages.text_table import aligned, figure, small

LEVELS = ("2048", "768", "192")
"""Final pooling, before the auxiliary classifier, second max pooling."""

TOO_FEW = (
    "fewer images than dimensions: the FID is too high, the more so the fewer images; compare between rows "
    "of as many images only, not with other tables. FD∞ and the interval are rough then; KID is not biased"
)


@dataclass(frozen=True)
class Row:
    """A set and its figures, one for each level."""

    set: ImageSet
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class Evaluation:
    """All figures, with what they were made from."""

    rows: tuple[Row, ...]
    real: dict[str, Features]
    """Photos by artist; under the empty word those for all."""
    features: dict[str, Features]
    """By the set's label."""
    weights: Weights
    measures: Measures
    versions: dict[str, str]

    @property
    def artists(self) -> tuple[str, ...]:
        """In the order in which they were named."""
        return tuple(dict.fromkeys(row.set.artist for row in self.rows))

    def real_of(self, artist: str) -> Features:
        return real_of(self.real, artist)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures has to know."""
        found = []
        if not self.weights.published:
            found.append(
                "the network's weights are not the published ones (sha256 "
                f"{self.weights.sha256[:12]}…): these figures cannot be compared with any other table"
            )
        if any(each.too_few for row in self.rows for each in row.scores):
            found.append(f"† {TOO_FEW}")
        formats = {
            name: ", ".join(sorted(features.settings["formats"]))
            for name, features in {"photos": self.real_of(self.artists[0]), **self.features}.items()
        }
        if len(set(formats.values())) > 1:
            listed = "; ".join(f"{name}: {kinds}" for name, kinds in formats.items())
            found.append(
                f"the sets were saved in different formats ({listed}): compression alone moves these figures"
            )
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "sets": [
                {
                    "artist": row.set.artist,
                    "set": row.set.name,
                    **_described(self.features[row.set.label]),
                    "scores": [each.to_dict() for each in row.scores],
                }
                for row in self.rows
            ],
            "real": [{"artist": artist, **_described(each)} for artist, each in self.real.items()],
            "notes": list(self.notes),
            "measures": {
                "resamples": self.measures.resamples,
                "kid_subsets": self.measures.kid_subsets,
                "seed": self.measures.seed,
            },
            "weights": {
                "network": self.weights.network,
                "sha256": self.weights.sha256,
                "published": self.weights.published,
            },
            "versions": self.versions,
        }


def real_of(real: Mapping[str, Features], artist: str) -> Features:
    """The photos that an artist's sets are compared with."""
    return real[artist] if artist in real else real[""]


def evaluate(
    real: Mapping[str, Features],
    sets: Sequence[tuple[ImageSet, Features]],
    weights: Weights,
    measures: Measures,
    versions: Mapping[str, str],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Computes all figures.

    Args:
        real: photos by artist, or for all under the empty word.
        sets: what is compared with them, in the order of the table.
        weights: of the network that made the features.
        measures: how figures are made.
        versions: of the software, for the record.
        on_progress: called with the figures done and all figures.

    Raises:
        UserError: a set has fewer than two usable images.
    """
    for features in (*real.values(), *(features for _, features in sets)):
        check_enough(features.name, len(features.images))
    total = len(sets) * len(LEVELS)
    rows: list[Row] = []
    for each, features in sets:
        photos = real_of(real, each.artist)
        scores = []
        for level in LEVELS:
            scores.append(score(photos, features, level, measures))
            on_progress(len(rows) * len(LEVELS) + len(scores), total)
        rows.append(Row(each, tuple(scores)))
    by_label = {each.label: features for each, features in sets}
    return Evaluation(tuple(rows), dict(real), by_label, weights, measures, dict(versions))


def as_csv(evaluation: Evaluation) -> str:
    """One line for each set and level."""
    out = io.StringIO()
    names = ["artist", "set", *evaluation.rows[0].scores[0].to_dict()]
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    for row in evaluation.rows:
        for each in row.scores:
            writer.writerow({"artist": row.set.artist, "set": row.set.name, **each.to_dict()})
    return out.getvalue()


def as_text(evaluation: Evaluation) -> str:
    """The tables for a terminal: one for each artist and measure."""
    lines: list[str] = []
    for artist in evaluation.artists:
        rows = [row for row in evaluation.rows if row.set.artist == artist]
        photos = len(evaluation.real_of(artist).images)
        for title, cell in CELLS.items():
            if cell is infinity_cell and all(each.fd_infinity is None for row in rows for each in row.scores):
                continue  # a table of dashes
            of = f"{artist}, " if artist else ""
            lines.append(f"{of}{title}, against {photos:,} photos")
            table = [["set", "images", *(f"{level} dims" for level in LEVELS)]]
            table += [
                [row.set.name, f"{row.scores[0].images:,}", *(cell(each) for each in row.scores)]
                for row in rows
            ]
            lines += [*aligned(table), ""]
    return "\n".join([*lines, *(f"Note: {note}." for note in evaluation.notes)]).rstrip()


def fid_cell(score: Score) -> str:
    """`123.4 [110.2, 136.6] †`."""
    interval = "" if score.fid_low is None else f" [{figure(score.fid_low)}, {figure(score.fid_high or 0)}]"
    return f"{figure(score.fid)}{interval}{' †' if score.too_few else ''}"


def kid_cell(score: Score) -> str:
    """`0.0123 ± 0.0004`."""
    return f"{small(score.kid)} ± {small(score.kid_deviation)}"


def infinity_cell(score: Score) -> str:
    """`120.1`, or a dash where there are too few images."""
    if score.fd_infinity is None:
        return "–"
    return f"{figure(score.fd_infinity)}{' †' if score.too_few else ''}"


CELLS: dict[str, Callable[[Score], str]] = {
    "FID [95 % interval]": fid_cell,
    "KID ± deviation over subsets": kid_cell,
    "FD∞": infinity_cell,
}
"""The measures with the cell that shows each."""


def _described(features: Features) -> dict[str, Any]:
    return {
        "place": features.place,
        "images": len(features.images),
        "skipped": [{"file": name, "reason": reason} for name, reason in features.skipped],
        "features": features.settings,
    }
