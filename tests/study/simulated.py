"""Studies that never took place: designs, and answers by people whose preference is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import expit

from art2real.study.answers import Answer, Participant
from art2real.study.design import REAL, Design, Exclusion, Picture, PowerTable, Trial
from art2real.study.schedule import Shown, deck, schedule

WHEN = "2026-01-01T12:00:00+00:00"


def made_design(
    kind="realism", systems=("CycleGAN", "Ours"), *, items=30, trials_each=30, sizes=(256,), planned=None
) -> Design:
    """A design whose pool has every item, pair of systems and size once; pictures exist by name only."""
    names = iter(f"{number:016x}" for number in range(10**6))
    pictures: dict[tuple[str, str], Picture] = {}

    def picture(system: str, item: str) -> Picture:
        item = f"photo-of-{item}" if system == REAL else item
        if (system, item) not in pictures:
            pictures[system, item] = Picture(
                file=next(names) + ".png", system=system, item=item, sha256="0" * 64, width=256, height=256
            )
        return pictures[system, item]

    def trial(role, item, first, second, size, right=None) -> Trial:
        pair = {"first": picture(first, item), "second": picture(second, item)}
        return Trial(id=next(names), role=role, item=item, size=size, right=right, **pair)

    if kind == "real-vs-generated":
        pairs = [(REAL, system) for system in systems]
    else:
        pairs = [(a, b) for at, a in enumerate(systems) for b in systems[at + 1 :]]
    right = "first" if kind == "real-vs-generated" else None
    cells = deck(items, len(pairs), len(sizes))
    judged = [
        trial("trial", f"painting-{item}", *pairs[pair], sizes[size], right) for item, pair, size in cells
    ]
    checks = [trial("attention", f"check-{at}", "check", "broken", 256, "first") for at in range(3)]
    return Design(
        art2real="0",
        created=WHEN,
        kind=kind,
        questions=(kind,),
        languages=("en",),
        systems=systems,
        sizes=sizes,
        seed=5,
        secret="0" * 64,
        trials_each=trials_each,
        attention_each=3,
        practice_each=0,
        exclusion=Exclusion(),
        power=PowerTable(alpha=0.05, power=0.8, answers_each=trials_each, planned=planned, rows=()),
        trials=(*judged, *checks),
    )


@dataclass(frozen=True)
class People:
    """How people choose: logistic, with a leaning of each person and of each image.

    The logit of choosing a trial's second picture (in real-vs-generated, the generated one) is the difference
    of both systems' strengths, plus the person's and the image's leaning, which are normal.
    """

    strengths: dict[str, float]
    person_sd: float = 0.7
    image_sd: float = 0.7
    careless: float = 0.0
    """Share of participants who click at once and at random."""

    def truth(self, first: str, second: str) -> float:
        """How often people like these choose `second` over `first`, over images like these."""
        at, weights = np.polynomial.hermite_e.hermegauss(60)
        spread = np.hypot(self.person_sd, self.image_sd)
        mean = self.strengths[second] - self.strengths[first]
        return float(expit(mean + spread * at) @ weights / weights.sum())


@dataclass(frozen=True)
class Panel:
    """A design and what each of its participants sees, which takes longer to make than their answers."""

    design: Design
    shown: tuple[tuple[Shown, ...], ...]

    @property
    def participants(self) -> list[Participant]:
        return [Participant(number, "en", WHEN, WHEN, WHEN) for number in range(len(self.shown))]

    def answers(self, people: People, seed: int) -> list[Answer]:
        """Of one study: new people, new images, new answers."""
        rng = np.random.default_rng(seed)
        of_image = dict.fromkeys(trial.item for trial in self.design.trials)
        leanings = rng.normal(0, people.image_sd, len(of_image))
        of_image = dict(zip(of_image, leanings.tolist(), strict=True))
        found = []
        for number, order in enumerate(self.shown):
            person, careless = rng.normal(0, people.person_sd), rng.random() < people.careless
            draws, times = rng.random(len(order)).tolist(), rng.lognormal(7.5, 0.4, len(order)).tolist()
            for each, draw, time in zip(order, draws, times, strict=True):
                trial = each.trial
                if careless:
                    chance, time = 0.5, time / 8
                elif trial.role != "trial":
                    chance = 0.02
                else:
                    mean = people.strengths[trial.second.system] - people.strengths[trial.first.system]
                    chance = 1 / (1 + np.exp(-(mean + person + of_image[trial.item])))
                picture = trial.second if draw < chance else trial.first
                choice = "left" if picture == each.left else "right"
                found.append(Answer(number, each.position, trial.id, choice, picture.file, int(time), WHEN))
        return found


@cache
def made_panel(participants: int, **options) -> Panel:
    """A panel of a design with these options, see `made_design`."""
    design = made_design(**options)
    return Panel(design, tuple(schedule(design, number) for number in range(participants)))
