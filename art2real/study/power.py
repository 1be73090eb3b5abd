"""How many participants a study needs: the power of the exact two-sided binomial test of "no preference".

Answers of one participant resemble each other. With m answers each, correlated by rho, k participants are
worth no more than k*m / (1 + (m - 1) * rho) independent answers (the design effect of clusters: L. Kish,
Survey Sampling, 1965). Answers to the same picture resemble each other as well; no plan is made for that, but
the intervals of the report respect it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy.stats import binom

from art2real.pages.text_table import aligned
from art2real.study.design import PowerRow, PowerTable

PREFERENCES = (0.55, 0.6, 0.65, 0.7)
RHOS = (0.0, 0.05, 0.1)
ALPHA = 0.05
POWER = 0.8


def power_table(answers_each: float, planned: int | None) -> PowerTable:
    """The analysis of one comparison.

    Args:
        answers_each: answers of a participant to it.
        planned: participants; None if their number is not planned.
    """
    rows = tuple(
        PowerRow(
            preference=preference,
            rho=rho,
            participants=participants_needed(preference, answers_each, rho),
            planned_power=None
            if planned is None
            else exact_power(int(effective_answers(planned, answers_each, rho)), preference),
        )
        for preference in PREFERENCES
        for rho in RHOS
    )
    return PowerTable(alpha=ALPHA, power=POWER, answers_each=answers_each, planned=planned, rows=rows)


def effective_answers(participants: int, answers_each: float, rho: float) -> float:
    """How many independent answers the clustered ones are worth."""
    return participants * answers_each / (1 + max(answers_each - 1, 0) * rho)


def participants_needed(
    preference: float, answers_each: float, rho: float, *, alpha: float = ALPHA, power: float = POWER
) -> int:
    """The least number of participants from which on the power never falls below the wanted one."""
    answers = answers_needed(preference, alpha, power)
    # A quotient that is a whole number but for its last bit must not cost a participant.
    return int(np.ceil(answers / effective_answers(1, answers_each, rho) - 1e-9))


@lru_cache(maxsize=64)
def answers_needed(preference: float, alpha: float = ALPHA, power: float = POWER) -> int:
    """The least number of independent answers from which on the power never falls below the wanted one.

    The power of an exact test is a saw: it falls a little with each answer until the critical count moves.
    """
    # Twice what the normal approximation asks for: there every tooth of the saw is far above that power.
    answers = int(4 / (preference - 0.5) ** 2) + 50
    while answers > 1 and exact_power(answers - 1, preference, alpha) >= power:
        answers -= 1
    return answers


def exact_power(answers: int, preference: float, alpha: float = ALPHA) -> float:
    """The chance that the exact two-sided test of 1/2 is significant at `alpha`, with independent answers.

    Args:
        answers: their number; 0 has no power.
        preference: the true share that chooses one side.
    """
    # The null distribution is symmetric: significant are counts up to c and from n - c, 2 P(X <= c) <= alpha.
    critical = int(binom.ppf(alpha / 2, answers, 0.5))
    while critical >= 0 and 2 * binom.cdf(critical, answers, 0.5) > alpha:
        critical -= 1
    if critical < 0:
        return 0.0
    tails = binom.cdf(critical, answers, preference) + binom.sf(answers - critical - 1, answers, preference)
    return float(tails)


def as_lines(table: PowerTable) -> Sequence[str]:
    """The table for a terminal: a row a preference, a column a correlation."""
    rhos = sorted({row.rho for row in table.rows})
    heads = ["preference", *(f"rho {rho:g}" for rho in rhos)]
    if table.planned is not None:
        heads += [f"power of {table.planned}, rho {rho:g}" for rho in rhos]
    lines = [heads]
    for preference in sorted({row.preference for row in table.rows}):
        rows = {row.rho: row for row in table.rows if row.preference == preference}
        cells = [f"{preference:.0%}", *(f"{rows[rho].participants:,}" for rho in rhos)]
        if table.planned is not None:
            cells += [f"{rows[rho].planned_power:.0%}" for rho in rhos]
        lines.append(cells)
    title = (
        f"participants needed to see a preference with power {table.power:.0%} (exact two-sided test at "
        f"{table.alpha:g}, {table.answers_each:.3g} answers each to a comparison; rho: correlation of one "
        "participant's answers)"
    )
    return [title, *aligned(lines)]
