"""The figures of domain shift as tables, for machines and for a terminal."""

from __future__ import annotations

import csv
import io

from art2real.evaluation.domain_shift import DomainShift
from art2real.evaluation.shift import Shift
from art2real.pages.text_table import aligned, figure, small


def as_csv(result: DomainShift) -> str:
    """One line for each network and set; the reference is the last of its network."""
    out = io.StringIO()
    names = ["network", "level", "published_weights", *result.networks[0].halves.to_dict()]
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    for each in result.networks:
        about = {
            "network": each.network,
            "level": each.level,
            "published_weights": each.weights.published,
        }
        for row in (*each.rows, each.halves):
            writer.writerow({**about, **row.to_dict()})
    return out.getvalue()


def as_text(result: DomainShift) -> str:
    """The tables for a terminal, one for each network."""
    lines = [f"WARNING: {result.warning}.", ""] if result.warning else []
    matched = f"with {result.networks[0].halves.images_matched} of each"
    head = ["set", "images", "photos", "Fréchet [95 %]", matched, "MMD² (p)", "probe accuracy [95 %]"]
    for each in result.networks:
        lines.append(f"{each.title}, {each.dimensions:,} dimensions")
        table = [
            [row.set, f"{row.images:,}", f"{row.photos:,}", *cells(row)] for row in (*each.rows, each.halves)
        ]
        lines += [*aligned([head, *table]), ""]
    lines.append(
        "The probe tells a set from photos: 0.5 is chance, 1 every image. MMD and Fréchet: less is nearer."
    )
    return "\n".join([*lines, *(f"Note: {note}." for note in result.notes)])


def cells(row: Shift) -> tuple[str, str, str, str]:
    """Fréchet distance of all and of as many images, MMD and accuracy as tables show them."""
    probe = row.probe
    return (
        f"{figure(row.frechet)} [{figure(row.frechet_low)}, {figure(row.frechet_high)}]{' †' * row.too_few}",
        f"{figure(row.frechet_matched)} ± {figure(row.frechet_matched_deviation)}",
        f"{small(row.mmd.squared)} ({row.mmd.p:.3f})",
        f"{probe.accuracy:.3f} [{probe.low:.3f}, {probe.high:.3f}]",
    )
