"""Krippendorff's alpha: published examples, and its definition written out pair by pair."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from art2real.core.agreement import agreement, alpha_of, counts_of


def counts_of_table(*raters):
    """From a line for each rater, a character for each item; a dot: not judged."""
    judged = [(item, value) for line in raters for item, value in enumerate(line.split()) if value != "."]
    return counts_of(*zip(*judged, strict=True))


# Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, sections A, B and C.
PUBLISHED = {
    0.095: ("0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0"),
    0.692: ("a a b b d c c c e d d a", "b a b b b c c c e d d d"),
    0.743: (
        "1 2 3 3 2 1 4 1 2 . . .",
        "1 2 3 3 2 2 4 1 2 5 . 3",
        ". 3 3 3 2 3 4 2 2 5 1 .",
        "1 2 3 3 2 4 4 1 2 5 1 .",
    ),
}


@pytest.mark.parametrize("alpha", PUBLISHED)
def test_published_examples(alpha):
    assert round(alpha_of(counts_of_table(*PUBLISHED[alpha])), 3) == alpha


def slow_alpha(units):
    """One less the observed by the expected disagreement, over all ordered pairs of values."""
    units = [unit for unit in units if len(unit) >= 2]
    everything = [value for unit in units for value in unit]
    observed = sum(sum(a != b for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in units)
    expected = sum(a != b for a, b in permutations(everything, 2)) / (len(everything) - 1)
    return 1 - observed / expected if expected else float("nan")


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=8))
def test_alpha_is_its_definition(units):
    items = [at for at, unit in enumerate(units) for _ in unit]
    counts = counts_of(items, [value for unit in units for value in unit])
    assert alpha_of(counts) == pytest.approx(slow_alpha(units), nan_ok=True)


def test_agreement_counts_pairs_of_raters():
    # Three of four agree: three of the six pairs. Both agree. The third item has one rater.
    found = agreement(np.array([[3, 1], [0, 2], [1, 0]]), seed=0)
    assert found.same == pytest.approx((3 / 6 + 1) / 2)
    assert (found.items, found.answers) == (2, 6)


def test_nothing_to_agree_about():
    alone = agreement(np.array([[1, 0], [0, 1]]), seed=0)
    assert (alone.alpha, alone.same, alone.items) == (None, None, 0)
    unanimous = agreement(np.array([[3, 0], [4, 0]]), seed=0)
    assert (unanimous.alpha, unanimous.low, unanimous.same) == (None, None, 1)
    one = agreement(np.array([[3, 1]]), seed=0)
    assert one.alpha is not None and one.low is None


def test_the_interval_holds_alpha_at_its_rate():
    # Five raters say an item's own value with chance 0.8, else one of both at random: alpha is 0.8^2.
    rng = np.random.default_rng(0)
    held = []
    for seed in range(200):
        own = rng.integers(0, 2, (80, 1))
        values = np.where(rng.random((80, 5)) < 0.8, own, rng.integers(0, 2, (80, 5)))
        counts = np.stack([(values == 0).sum(1), (values == 1).sum(1)], 1)
        found = agreement(counts, seed=seed, resamples=400)
        held.append(found.low <= 0.64 <= found.high)
    assert 0.9 <= np.mean(held) <= 0.99


def test_the_same_seed_gives_the_same():
    counts = np.random.default_rng(0).integers(0, 4, (20, 2))
    assert agreement(counts, seed=1) == agreement(counts, seed=1)
    assert agreement(counts, seed=1).low != agreement(counts, seed=2).low
