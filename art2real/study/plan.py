"""What a study is to be made of, as the user asks for it, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from art2real.data.corpus import list_images
from art2real.errors import UsageError, UserError
from art2real.study.design import CHECK, DESIGN, REAL, Exclusion, Kind
from art2real.study.matching import Matched, match_names

PAINTINGS = "paintings"
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True)
class Plan:
    """All choices behind a study."""

    kind: Kind
    sets: Mapping[str, Path]
    """Folders by the name of the system that made their images."""
    trials: int
    """Judged trials of a participant."""
    exclusion: Exclusion
    paintings: Path | None = None
    real: Path | None = None
    attention: int = 3
    practice: int = 3
    seed: int = 0
    size: int = 256
    """Side of the pictures at full size, pixels."""
    languages: tuple[str, ...] = ("en", "it")
    participants: int | None = None
    """How many are planned: for the power analysis only."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides of the judged pictures, pixels: full, 2/3 and 1/2 where photos are told from results.

        As published, a broken pixel is dropped: 256, 170, 128.
        """
        if self.kind == "real-vs-generated":
            return self.size, self.size * 2 // 3, self.size // 2
        return (self.size,)

    @property
    def combinations(self) -> int:
        """Of a pair of systems and a size: the comparisons that are judged."""
        systems = len(self.sets)
        pairs = systems if self.kind == "real-vs-generated" else systems * (systems - 1) // 2
        return pairs * len(self.sizes)


def check_plan(plan: Plan, out: Path) -> None:
    """Refuses what cannot become a study, before an image is read.

    Raises:
        UsageError: options that do not go together, or an `out` that holds something.
    """
    _check_out(out)
    if plan.kind != "real-vs-generated" and len(plan.sets) < 2:
        raise UsageError(f"--set: a study of {plan.kind} compares two systems at least; name another set")
    _check_folder(plan, "coherency", plan.paintings, "--paintings", "that the results are compared with")
    _check_folder(plan, "real-vs-generated", plan.real, "--real", "that the results are told from")
    seen: dict[Path, str] = {}
    for name, folder in _folders(plan).items():
        if not name.isprintable() or (name in plan.sets and name in (REAL, CHECK, PAINTINGS)):
            raise UsageError(f"--set {name!r}: that name has another meaning here; take another one")
        if seen.setdefault(folder.resolve(), name) != name:
            raise UsageError(f"{folder} is given twice, as {seen[folder.resolve()]} and as {name}")
        if out.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"--out {out} lies in {folder}: its pictures would count as images of {name}")
    for language in plan.languages:
        if not _LANGUAGE.fullmatch(language):
            raise UsageError(f"--language {language}: write a language as en, it or pt-BR")
    if plan.attention and plan.attention >= plan.trials:
        raise UsageError(
            f"--attention {plan.attention}: the checks are spread between --trials {plan.trials}, so they "
            "must be fewer"
        )
    if plan.attention and plan.exclusion.max_attention_failures >= plan.attention:
        raise UsageError(
            f"--max-attention-failures {plan.exclusion.max_attention_failures}: with {plan.attention} checks "
            "that would exclude nobody"
        )


def _check_out(out: Path) -> None:
    if (out / DESIGN).exists():
        raise UsageError(
            f"--out {out}: is a study already, and its answers belong to its design; give a new folder"
        )
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(f"--out {out}: holds something else; give a new or empty folder")
    except OSError as error:
        raise UserError(f"--out {out} cannot be read: {error.strerror or error}") from None


def _check_folder(plan: Plan, kind: Kind, folder: Path | None, option: str, what: str) -> None:
    if plan.kind == kind and folder is None:
        raise UsageError(f"{option} is missing: the folder {what} in a study of {kind}")
    if plan.kind != kind and folder is not None:
        raise UsageError(f"{option} {folder}: belongs to a study of {kind}, not of {plan.kind}")


def _folders(plan: Plan) -> dict[str, Path]:
    """All folders of images: the first is what the others are matched with."""
    painted = {} if plan.paintings is None else {PAINTINGS: plan.paintings}
    return {**painted, **plan.sets, **({} if plan.real is None else {REAL: plan.real})}


def list_items(plan: Plan) -> tuple[list[Matched], list[str]]:
    """The images that every set has, and in words those that are left out.

    Raises:
        UserError: a folder has no images, or no image is in all of them.
    """
    folders = {name: folder for name, folder in _folders(plan).items() if name != REAL}
    found, left_out = match_names({name: list_images(folder) for name, folder in folders.items()})
    if not found:
        names = " and ".join(str(folder) for folder in folders.values())
        raise UserError(
            f"{names}: no image has the same name in all of them (suffixes do not count); give results of "
            "the same paintings, under their names"
        )
    return found, left_out


def check_enough(plan: Plan, items: Sequence[str]) -> None:
    """Whether there are as many different trials as a participant is to see.

    Raises:
        UserError: there are fewer.
    """
    different = len(items) * plan.combinations
    if plan.trials > different:
        raise UsageError(
            f"--trials {plan.trials}: {len(items)} usable images make no more than {different} "
            "different trials"
        )
