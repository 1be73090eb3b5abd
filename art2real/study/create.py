"""Makes a study: a folder with its design and its pictures, which is there whole or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from art2real import __version__
from art2real.data.corpus import list_images, printable
from art2real.data.images import BadImage, decode
from art2real.data.manifest import temporary_name
from art2real.errors import UserError
from art2real.study.attention import spoiled
from art2real.study.design import CHECK, IMAGES, REAL, Design, Picture, Role, Trial, write_design
from art2real.study.matching import Matched
from art2real.study.pictures import write_picture, write_sizes
from art2real.study.plan import PAINTINGS, Plan, check_enough, check_plan, list_items
from art2real.study.pool import Pictures, Sizes, judged_trials, plain_trials
from art2real.study.power import power_table
from art2real.study.schedule import shuffled

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Created:
    """A study that was made."""

    study: Path
    design: Design
    notes: tuple[str, ...]
    """What whoever runs it should know, in words."""


def create_study(plan: Plan, out: Path, on_progress: Progress | None = None) -> Created:
    """Makes a study in the folder `out`, which is new or empty.

    Args:
        plan: what it is made of.
        out: the study.
        on_progress: called with how many images were read, and of how many.

    Raises:
        UsageError: the plan asks for what cannot be, or `out` holds something.
        UserError: there are no images to compare, or the study cannot be written.
    """
    check_plan(plan, out)
    matched, left_out = list_items(plan)
    check_enough(plan, [each.item for each in matched])
    temporary = temporary_name(out.absolute())
    try:
        (temporary / IMAGES).mkdir(parents=True)
        making = _Making(plan, temporary / IMAGES, left_out, on_progress)
        design = making.design(shuffled(matched, plan.seed, "items"))
        _remove_others(temporary / IMAGES, design.files)
        write_design(temporary, design)
        temporary.replace(out)
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Created(out, design, tuple(making.notes))


def _remove_others(folder: Path, wanted: frozenset[str]) -> None:
    """Copies that no trial shows, as those of an image whose partner could not be read."""
    for path in folder.iterdir():
        if path.name not in wanted:
            path.unlink()


class _Making:
    """The work of `create_study` within its temporary folder."""

    def __init__(self, plan: Plan, images: Path, left_out: list[str], on_progress: Progress | None) -> None:
        self._plan = plan
        self._images = images
        self._left_out = left_out
        self._on_progress = on_progress
        self._enlarged: dict[str, int] = {}
        self.notes: list[str] = []

    def design(self, matched: Sequence[Matched]) -> Design:
        """Writes all pictures; the items are taken in the order of `matched`."""
        plan = self._plan
        folders = plan.sets if plan.paintings is None else {**plan.sets, PAINTINGS: plan.paintings}
        results: dict[str, dict[str, Sizes]] = {}
        for number, each in enumerate(matched, start=1):
            copies = self._copies(each, folders)
            if copies is not None:
                results[each.item] = copies
            if self._on_progress is not None:
                self._on_progress(number, len(matched))
        items = list(results)
        check_enough(plan, items)
        judged, held = self._held_out(items)
        paintings = {item: results[item].pop(PAINTINGS) for item in items} if plan.paintings else {}
        checks = plan.practice + plan.attention
        photos = self._photos(len(judged) * plan.combinations + checks)
        pictures = Pictures(results, paintings, photos, plan.sizes)
        roles: list[Role] = ["practice" for _ in range(plan.practice)]
        roles += ["attention" for _ in range(plan.attention)]
        systems = tuple(plan.sets)
        random = np.random.default_rng(plan.seed)
        trials = judged_trials(plan.kind, pictures, judged, systems)
        trials += plain_trials(
            roles, plan.kind, pictures, held, systems, lambda picture: self._spoiled(picture, random)
        )
        self._note_pictures(trials)
        return Design(
            art2real=__version__,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            kind=plan.kind,
            questions=(plan.kind,),
            languages=plan.languages,
            systems=systems,
            sizes=plan.sizes,
            seed=plan.seed,
            secret=secrets.token_hex(32),
            trials_each=plan.trials,
            attention_each=plan.attention,
            practice_each=plan.practice,
            exclusion=plan.exclusion,
            power=power_table(plan.trials / plan.combinations, plan.participants),
            left_out=tuple(self._left_out),
            trials=tuple(trials),
        )

    def _copies(self, matched: Matched, folders: Mapping[str, Path]) -> dict[str, Sizes] | None:
        """The pictures of an item by system; None if one of its images is bad."""
        copies: dict[str, Sizes] = {}
        for name, folder in folders.items():
            found = self._copy(folder, matched.files[name], name, matched.item)
            if found is None:
                return None
            copies[name] = found
        return copies

    def _copy(self, folder: Path, file: str, system: str, item: str) -> Sizes | None:
        try:
            sizes, small = write_sizes(
                self._images, folder / file, self._plan.sizes, system=system, item=item
            )
        except BadImage as bad:
            self._left_out.append(f"{system}: {printable(file)}: {bad.detail}")
            return None
        self._enlarged[system] = self._enlarged.get(system, 0) + small
        return sizes

    def _held_out(self, items: Sequence[str]) -> tuple[list[str], list[str]]:
        """Items to judge, and those for practice and checks: others, if enough are left."""
        wanted = self._plan.practice + self._plan.attention
        if len(items) - wanted >= self._plan.trials:
            return list(items[wanted:]), list(items[:wanted])
        if wanted:
            self.notes.append(
                "practice trials and attention checks show images that are judged as well: there are too few "
                "to keep some apart"
            )
        if self._plan.trials > len(items):
            self.notes.append(f"each participant sees some of the {len(items)} images several times")
        return list(items), list(items)

    def _photos(self, most: int) -> list[Sizes]:
        """Real photos in a random order, as many as are needed or there are."""
        folder = self._plan.real
        if folder is None:
            return []
        photos: list[Sizes] = []
        for name in shuffled(list_images(folder), self._plan.seed, "photos"):
            if len(photos) == most:
                break
            found = self._copy(folder, name, REAL, printable(name))
            if found is not None:
                photos.append(found)
        if not photos:
            raise UserError(f"--real {folder}: none of its images can be used; give a folder of photos")
        if len(photos) < self._plan.trials:
            self.notes.append(f"each participant sees some of the {len(photos)} real photos several times")
        return photos

    def _spoiled(self, picture: Picture, random: np.random.Generator) -> Picture:
        pixels = spoiled(decode(self._images / picture.file), random)
        return write_picture(self._images, pixels, system=CHECK, item=picture.item)

    def _note_pictures(self, trials: Sequence[Trial]) -> None:
        same = sum(trial.first.sha256 == trial.second.sha256 for trial in trials)
        if same:
            self.notes.append(f"in {same} of {len(trials)} trials both pictures are the same, to the pixel")
        for system, count in self._enlarged.items():
            if count:
                self.notes.append(
                    f"{count} images of {system} are smaller than {self._plan.size} pixels and were enlarged"
                )
