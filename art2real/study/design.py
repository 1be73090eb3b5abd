"""Everything that is fixed before the first answer: `design.json`, a study's pre-registration.

It says which system made what, so it is never served; a checksum over all of it shows whether it was changed.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from art2real.data.manifest import Model, digest, write_text
from art2real.errors import UserError

FORMAT_VERSION = 1
DESIGN = "design.json"
IMAGES = "images"
SEAL = "design_sha256"
"""The file's field with the checksum of its other fields."""
REAL = "real"
"""What real photos have in the place of a system's name."""
CHECK = "check"
"""The same of the pictures of practice trials and attention checks."""

Kind = Literal["realism", "coherency", "real-vs-generated"]
Role = Literal["practice", "trial", "attention"]
Which = Literal["first", "second"]
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class Picture(Model):
    """A picture that participants see."""

    file: str = Field(pattern=r"^[0-9a-f]{16}\.png$", description="name in the study's images/")
    system: str = Field(description="name of its set; `real` of photos, `check` in practice and checks")
    item: str = Field(description="name of the painting or photo that it belongs to")
    sha256: str = Field(description="of the file")
    width: int = Field(ge=1, description="pixels")
    height: int = Field(ge=1, description="pixels")


class Trial(Model):
    """A choice between two pictures."""

    id: Hex
    role: Role
    item: str
    first: Picture
    second: Picture
    painting: Picture | None = Field(None, description="shown beside both, in a study of coherency")
    size: int = Field(ge=1, description="side of the pictures as they are shown, pixels")
    right: Which | None = Field(None, description="the right answer; none where it is a matter of taste")

    @property
    def systems(self) -> tuple[str, str]:
        return self.first.system, self.second.system

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All that it shows."""
        return tuple(each for each in (self.first, self.second, self.painting) if each is not None)


class Exclusion(Model):
    """Whose answers do not count. A participant who breaks one of the rules is left out with all answers."""

    max_attention_failures: int = Field(1, ge=0, description="most attention checks answered wrongly")
    min_median_ms: int = Field(500, ge=0, description="least median time of the judged answers, milliseconds")
    min_answered_share: float = Field(
        0.8, ge=0, le=1, description="least share of the judged trials answered"
    )


class PowerRow(Model):
    """What it takes to see one preference."""

    preference: float = Field(gt=0.5, lt=1, description="share of answers that choose the preferred side")
    rho: float = Field(ge=0, lt=1, description="correlation of the answers of one participant")
    participants: int = Field(ge=1, description="who are needed for the wanted power")
    planned_power: float | None = Field(description="with the planned participants; none: no number planned")


class PowerTable(Model):
    """The power analysis of one comparison: one pair of systems at one size."""

    alpha: float = Field(gt=0, lt=1, description="level of the exact two-sided binomial test")
    power: float = Field(gt=0, lt=1, description="wanted chance to see the preference")
    answers_each: float = Field(gt=0, description="of a participant to this comparison")
    planned: int | None = Field(description="participants that are planned")
    rows: tuple[PowerRow, ...]


class Design(Model):
    """`design.json`."""

    format_version: int = FORMAT_VERSION
    art2real: str = Field(description="version of the package that made the study")
    created: str = Field(description="ISO 8601, UTC")
    kind: Kind
    questions: tuple[str, ...] = Field(description="names of the questions' texts")
    languages: tuple[str, ...] = Field(min_length=1, description="the first is what is shown if none fits")
    systems: tuple[str, ...] = Field(min_length=1, description="names of the sets, in the order given")
    sizes: tuple[int, ...] = Field(min_length=1, description="sides of the judged pictures, pixels")
    seed: int = Field(ge=0, description="of order and sides")
    secret: str = Field(
        pattern=r"^[0-9a-f]{64}$", description="key of the names of a participant's positions"
    )
    trials_each: int = Field(ge=1, description="judged trials of a participant")
    attention_each: int = Field(ge=0, description="attention checks of a participant")
    practice_each: int = Field(ge=0, description="practice trials of a participant")
    exclusion: Exclusion
    power: PowerTable
    left_out: tuple[str, ...] = Field((), description="images that are not in the study, and why")
    trials: tuple[Trial, ...] = Field(description="the pool, by role; the judged ones in order of the deck")

    @model_validator(mode="after")
    def _whole(self) -> Design:
        if len({trial.id for trial in self.trials}) != len(self.trials):
            raise ValueError("two trials have one id")
        counts = Counter(trial.role for trial in self.trials)
        if counts["attention"] != self.attention_each or counts["practice"] != self.practice_each:
            raise ValueError("the pool has another number of attention checks or practice trials")
        if counts["trial"] < self.trials_each:
            raise ValueError("the pool is smaller than what a participant sees")
        if self.attention_each and self.attention_each >= self.trials_each:
            raise ValueError("attention checks cannot be kept apart: they must be fewer than the trials")
        return self

    @cached_property
    def by_id(self) -> dict[str, Trial]:
        """The whole pool by the trials' ids."""
        return {trial.id: trial for trial in self.trials}

    @cached_property
    def judged(self) -> tuple[Trial, ...]:
        """The trials whose answers count."""
        return self._of("trial")

    @cached_property
    def checks(self) -> tuple[Trial, ...]:
        """The attention checks."""
        return self._of("attention")

    @cached_property
    def practice(self) -> tuple[Trial, ...]:
        """The practice trials."""
        return self._of("practice")

    @cached_property
    def combinations(self) -> int:
        """Of a pair of systems and a size, among the judged trials."""
        return len({(trial.systems, trial.size) for trial in self.judged})

    @cached_property
    def files(self) -> frozenset[str]:
        """Names of all pictures in images/."""
        return frozenset(picture.file for trial in self.trials for picture in trial.pictures)

    def _of(self, role: Role) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if trial.role == role)

    def to_json(self) -> str:
        """With a checksum of the design itself as its last field."""
        content = self.model_dump(mode="json")
        return json.dumps({**content, SEAL: _seal(content)}, indent=1, ensure_ascii=False) + "\n"


def write_design(study: Path, design: Design) -> Path:
    """Writes `design.json`, whole or not at all; returns its path. OSError if it cannot be written."""
    path = study / DESIGN
    write_text(path, design.to_json())
    return path


def read_design(study: Path) -> Design:
    """Reads `design.json`.

    Raises:
        UserError: there is no study, or its design was changed or damaged, or has a format that is not known.
    """
    path = study / DESIGN
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["format_version"]
        if version != FORMAT_VERSION:
            raise UserError(
                f"{path}: format version {version} of studies is not known (this program writes "
                f"{FORMAT_VERSION}); use the art2real that made the study"
            )
        if content.pop(SEAL) != _seal(content):
            raise UserError(
                f"{path}: changed since the study was created (its checksum is another one); put the "
                "original back, or make a new study"
            )
        return Design.model_validate(content)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{study}: not a study (it has no {DESIGN}); make one with study create") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValidationError, ValueError, TypeError, KeyError, AttributeError):
        raise UserError(f"{path}: damaged; put the original back, or make a new study") from None


def _seal(content: dict[str, Any]) -> str:
    return digest([json.dumps(content, sort_keys=True, separators=(",", ":"))])
